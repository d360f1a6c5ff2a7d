"""How a child ended, in words and as a class of failure."""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

from farm.domain.errors import ChildCrashedError, DeadlineExceededError
from farm.domain.jobs import Failure, FailureClass, Phase
from workers.confinement import size_text

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes; a child's result may be so large, with the log that tells why.
_LEAST_ROOM = 1 << 20
#: Measured with TensorRT 8.6.0 on an H200: a UNet whose first layer gives 128x64x512x512 elements is built, and kills its
#: process when it runs; with half the batch it runs.
_LARGE_TENSORS = " TensorRT 8 dies of tensors with 2^31 elements or more: `farm inspect MODEL --batch N` estimates them; try a smaller batch."
_HINTS: dict[int, str] = {
    signal.SIGKILL: "Nobody here sent it: most likely the kernel, for want of memory (`dmesg` tells).",
    signal.SIGXCPU: "It used all the CPU time that it may have: FARM_CHILD_CPU_S on the worker.",
    signal.SIGXFSZ: "It wrote a larger file than it may: FARM_CHILD_FILE_SIZE on the worker.",
}


def timeout(deadline_s: float, phase: str) -> Failure:
    """It was still there at its deadline."""
    return Failure(
        FailureClass.TRANSIENT,
        DeadlineExceededError.__name__,
        f"the attempt was stopped after {deadline_s:.0f} s" + (f", in phase {phase}" if phase else ""),
        hint="Allow more with --deadline, or make the build cheaper (a lower builder_optimization_level).",
        phase=phase,
        is_timeout=True,
    )


def runaway_log(max_log_bytes: int, phase: str) -> Failure:
    """It wrote without end."""
    return Failure(
        FailureClass.REFUSED,
        "RunawayLog",
        f"the toolchain wrote more than {size_text(max_log_bytes)} of log",
        hint="Its beginning is kept: `farm logs` shows what it repeats.",
        phase=phase,
    )


def no_room(folder: Path, phase: str) -> Failure | None:
    """What became of a child that left nothing on a disk that is full: no fault of its job; none if there is room.

    Args:
        folder: of the attempt.
        phase: that it was in; empty if none had begun.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return None
    if free >= _LEAST_ROOM:
        return None
    return Failure(
        FailureClass.TRANSIENT,
        "DiskFull",
        f"the disk under {folder.parent} is full: the child left no result"
        + (f" in phase {phase}" if phase else ""),
        hint="Free some space there, or put FARM_SCRATCH on another disk.",
        phase=phase,
    )


def crash(code: int, phase: str) -> Failure:
    """It died by a signal, or left no result that can be read.

    Args:
        code: as `subprocess` has it: negative for a signal.
        phase: that it was in; empty if none had begun.
    """
    if code >= 0:
        what, hint = f"exited with status {code} and left no result", "The log has its last words."
    else:
        known = {number.value: number.name for number in signal.Signals}
        what = f"was killed by {known.get(-code, f'signal {-code}')}"
        hint = _HINTS.get(-code, "The toolchain crashed; the log has its last words.")
        if -code == signal.SIGSEGV and phase in (Phase.VERIFY.value, Phase.BENCHMARK.value):
            hint += _LARGE_TENSORS
    return Failure(
        FailureClass.TRANSIENT,
        ChildCrashedError.__name__,
        f"the child process {what}" + (f" in phase {phase}" if phase else ""),
        hint=hint,
        phase=phase,
        is_crash=True,
    )
