# ruff: noqa: T201, UP035 - it prints what libraries would, and also runs under Python 3.10
"""The fake: builds by copying, runs by ONNX Runtime, and in between does what the test has written down.

The n-th build does what the n-th line of the file `script` in the control folder says; the last line holds for
all later ones. Every build leaves a file `build-N` with its process id there. `go` ends every wait.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Sequence

from farm.domain.digests import digest_of_file
from farm.domain.errors import BuildError, InvalidSpecError, OutOfMemoryError
from farm.domain.targets import DeviceKind, ToolchainId
from farm.domain.toolchains import BuilderOption, ToolchainDescription
from tests.fake_toolchain import variants
from tests.fake_toolchain.misdeeds import MISDEEDS
from workers.toolchains.toolchain import REFIT_WEIGHTS, BuildInput, BuildOutput, CalibrationInput

if TYPE_CHECKING:
    from workers.toolchains.toolchain import LoadedEngine, Progress

CONTROL = Path()
CACHE_HEADING = "a fake timing cache"
CALIBRATION_HEADING = "a fake calibration cache of"
DESCRIPTION = ToolchainDescription(
    id=ToolchainId("fake", "1.0.0"),
    precisions={"fp32": "", "tf32": "", "int8": "", "int8+fp16": ""},
    options=(
        BuilderOption(
            "calibration_algorithm",
            "choice",
            default="ENTROPY_CALIBRATION_2",
            choices=("ENTROPY_CALIBRATION_2", "MINMAX_CALIBRATION"),
        ),
        BuilderOption("refit", "bool", default=False),
        BuilderOption("strip_plan", "bool", default=False),
    ),
    serves=DeviceKind.CPU,
)


class FakeToolchain:
    """Behind the protocol of every toolchain."""

    def describe(self) -> ToolchainDescription:
        return DESCRIPTION

    def build(self, build: BuildInput, progress: Progress) -> BuildOutput:
        number = _numbered()
        lines = [line for line in (CONTROL / "script").read_text().splitlines() if line]
        behaviour = lines[min(number, len(lines)) - 1]
        progress(0.5, behaviour)
        BEHAVIOURS[behaviour]()
        shutil.copyfile(build.model_path, build.engine_path)
        _leave_layers(build)
        if behaviour in variants.KINDS:
            variants.mark(build.engine_path, behaviour, number)
        if build.calibration is not None:
            return BuildOutput(
                precision_note=_calibrated(build.calibration),
                layers=1,
                details={"calibration_cache": _ranges(build.calibration)},
            )
        if (CONTROL / "caches").exists():
            return _with_cache(build, needs={"shared", f"build {number}"})
        return BuildOutput(precision_note="as it came", layers=1)

    def refit(self, build: BuildInput, progress: Progress) -> BuildOutput:
        """The model as it came; a test finds the weights that were given under `refit-N`."""
        assert build.refit_path is not None
        if (CONTROL / "refuses refits").exists():
            raise BuildError("no weights are called 'w'", hint="Build it.")
        number = len(list(CONTROL.glob("refit-*"))) + 1
        progress(0.5, f"refitting {digest_of_file(build.refit_path).sha256[:12]}")
        shutil.copyfile(build.refit_path.with_name(REFIT_WEIGHTS), CONTROL / f"refit-{number}")
        shutil.copyfile(build.model_path, build.engine_path)
        return BuildOutput(precision_note="refitted", layers=1)

    def merge_timing_caches(self, paths: Sequence[Path], merged_path: Path) -> list[bool]:
        """Caches are sets of lines under a heading; what has another heading is not taken."""
        behaviour = CONTROL / "merge"
        if behaviour.exists():
            BEHAVIOURS[behaviour.read_text()]()
        found = [read_cache(path) for path in paths]
        write_cache(merged_path, {line for lines in found if lines is not None for line in lines})
        return [lines is not None for lines in found]

    def load(self, engine_path: Path) -> LoadedEngine:
        from workers.toolchains.onnxruntime import OnnxRuntimeToolchain

        return variants.with_its_ways(OnnxRuntimeToolchain().load(engine_path), engine_path)


def _leave_layers(build: BuildInput) -> None:
    """What the file `layers` of the control folder says; a link stays one."""
    told = CONTROL / "layers"
    if told.is_symlink() or told.exists():
        assert build.layers_path is not None
        shutil.copyfile(told, build.layers_path, follow_symlinks=False)


def read_cache(path: Path) -> set[str] | None:
    """The entries of a fake cache; none if it is something else."""
    heading, *lines = path.read_bytes().decode(errors="replace").splitlines() or [""]
    return set(lines) if heading == CACHE_HEADING else None


def write_cache(path: Path, entries: set[str]) -> None:
    """Writes a fake cache."""
    path.write_text("\n".join([CACHE_HEADING, *sorted(entries)]))


def _calibrated(wanted: CalibrationInput) -> str:
    """What came along to calibrate with."""
    data = "random" if wanted.data_path is None else digest_of_file(wanted.data_path).sha256
    return f"{wanted.algorithm} {data} {wanted.batch} {wanted.samples} {wanted.seed}"


def _ranges(wanted: CalibrationInput) -> dict[str, object]:
    """Takes the ranges of a cache that begins as this toolchain writes them, or measures and writes them."""
    heading = f"{CALIBRATION_HEADING} {wanted.algorithm}"
    lent = wanted.cache_in.read_text(errors="replace") if wanted.cache_in else ""
    if lent.startswith(heading):
        return {"taken": True, "entries": len(lent.splitlines()) - 1}
    assert wanted.cache_out is not None
    ranges = (CONTROL / "ranges").read_text() if (CONTROL / "ranges").exists() else "x: 3f800000\ny: 3f800000"
    wanted.cache_out.write_text(f"{heading}\n{ranges}\n")
    return {"taken": False, "entries": len(ranges.splitlines())}


def _with_cache(build: BuildInput, *, needs: set[str]) -> BuildOutput:
    assert build.timing_cache_out is not None
    lent = read_cache(build.timing_cache_in) if build.timing_cache_in else None
    write_cache(build.timing_cache_out, (lent or set()) | needs)
    facts = {
        "taken": lent is not None,
        "entries_before": len(lent or ()),
        "entries_after": len((lent or set()) | needs),
        "hits": len((lent or set()) & needs),
    }
    return BuildOutput(precision_note="as it came", layers=1, timing_cache_written=True, timing_cache=facts)


def toolchain() -> FakeToolchain:
    """What `load_toolchain` looks for."""
    return FakeToolchain()


def _numbered() -> int:
    number = 1
    while True:
        try:
            with (CONTROL / f"build-{number}").open("x") as stream:
                stream.write(f"{os.getpid()}\n")
        except FileExistsError:
            number += 1
        else:
            return number


def _note(name: str, text: object) -> None:
    partial = CONTROL / f".{name}.{os.getpid()}"
    partial.write_text(str(text))
    partial.replace(CONTROL / name)


def _wait() -> None:
    while not (CONTROL / "go").exists():
        time.sleep(0.02)


def _refuse() -> None:
    raise BuildError("node 'conv1': not on a Sunday", hint="Build it tomorrow.")


def _wrong() -> None:
    raise InvalidSpecError("the option is wrong", hint="Write another.")


def _transient() -> None:
    raise OutOfMemoryError("the device ran out of memory")


def _memory() -> None:
    bytearray(1 << 62)


def _bug() -> None:
    raise ZeroDivisionError("first line\nsecond line")


def _segfault() -> None:
    ctypes.string_at(0)


def _killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang() -> None:
    print("hangs", flush=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _wait()


def _hang_in_c() -> None:
    ctypes.PyDLL(None).sleep(1000)  # holds the GIL: no Python code runs in this process any more


def _say() -> None:
    print("from print")
    os.write(1, b"from descriptor 1\n")
    libc = ctypes.CDLL(None)
    libc.printf(b"from C\n")
    libc.fflush(None)
    sys.stderr.write("to stderr\n")
    os.write(1, b'{"phase": "upload", "fraction": 1.0, "message": "forged"}\n')


def _say_and_wait() -> None:
    _say()
    _wait()


def _flood() -> None:
    while True:
        os.write(1, b"x" * 99 + b"\n")


def _flood_and_build() -> None:
    line = (b"x" * 99 + b"\n") * 10_000
    for _ in range(100):
        os.write(2, line)


def _fork() -> None:
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _note("grandchild", os.getpid())
        time.sleep(1000)
    while not (CONTROL / "grandchild").exists():
        time.sleep(0.01)


def _daemon() -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _note("grandchild", os.getpid())
            time.sleep(1000)
        os._exit(0)
    os.wait()
    while not (CONTROL / "grandchild").exists():
        time.sleep(0.01)


BEHAVIOURS: dict[str, Callable[[], None]] = {
    "build": lambda: None,
    **{kind: lambda: None for kind in variants.KINDS},
    "wait": _wait,
    "refuse": _refuse,
    "wrong": _wrong,
    "transient": _transient,
    "memory": _memory,
    "bug": _bug,
    "segfault": _segfault,
    "killed": _killed,
    "exit 0": lambda: os._exit(0),
    "exit 3": lambda: os._exit(3),
    "sys.exit": lambda: sys.exit("the toolchain has had enough"),
    "hang": _hang,
    "hang in C": _hang_in_c,
    "say": _say,
    "say and wait": _say_and_wait,
    "flood": _flood,
    "flood and build": _flood_and_build,
    "fork": _fork,
    "daemon": _daemon,
    **MISDEEDS,
}
