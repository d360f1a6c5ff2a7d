"""TensorRT's log lines: kept on stderr, and turned into the error that a person reads.

Shared by TensorRT and TensorRT-RTX, which have the same Python surface; the module is an argument.
"""

from __future__ import annotations

import functools
import re
import sys
from typing import TYPE_CHECKING, Any

from farm.domain.errors import (
    BuildError,
    DeviceUnavailableError,
    FarmError,
    InvalidSpecError,
    OutOfMemoryError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_LETTERS = {"INTERNAL_ERROR": "F", "ERROR": "E", "WARNING": "W", "INFO": "I", "VERBOSE": ""}
#: Errors that a message quotes; the first one is usually the most telling, the last one the most general.
_QUOTED = 3

#: Messages that say the opposite of what happens, with what does happen.
_HARMLESS = (
    (
        "Myelin error from unknown graph",
        # Measured on an H200 with TensorRT 8.6.0: the second build is four times faster and
        # byte-identical, so the cache is used (reference: H200 runs).
        "Myelin's own part of the timing cache was not taken over; the rest of it is used.",
    ),
)
#: Words of the messages from which the use of a timing cache is told (`trt_cache.py`).
_OF_CACHES = ("timing cache entries", "Deleting timing cache", "ITimingCache")
_MOST_CACHE_LINES = 1000
_NO_MEMORY = re.compile(
    r"out ?of ?memory|insufficient (device |GPU )?memory|MemoryAllocation|bad_alloc"
    r"|Requested amount of GPU memory|cannot allocate memory",
    re.IGNORECASE,
)
_NO_DEVICE = re.compile(
    r"CUDA initialization failure|no CUDA-capable device|driver version is insufficient"
    r"|device\(s\) is/are busy or unavailable|devices are busy or unavailable|uncorrectable ECC"
    r"|system not yet initialized|has fallen off the bus|cudaError(No|Insufficient)D|cudaError (35|100|46|802)\b",
    re.IGNORECASE,
)
_HINTS: tuple[tuple[str, str], ...] = (
    (
        r"libnvinfer_lean",
        (
            "A version-compatible engine holds the lean runtime, and its library is not installed beside TensorRT: "
            "install tensorrt-lean of the same version there, or add exclude_lean_runtime=true (unverified then)."
        ),
    ),
    (
        r"\bDLA\b",
        "Jetson and DRIVE chips have DLA. Leave default_device_type and the DLA options out to build for the GPU.",
    ),
    (
        r"FP32 GEMM is not supported",
        (
            "Compute capability 7.5 has no matrix multiplication in FP32 here: build for 8.0 or later, "
            "or give a model whose multiplications are typed in half precision."
        ),
    ),
    (
        r"within workspace limit|requires workspace memory|increase the workspace",
        "Give the builder more workspace: raise memory_pool_limits.WORKSPACE, or leave it out.",
    ),
    (
        r"smem_limit|kTACTIC_SHARED_MEMORY",
        "Raise memory_pool_limits.TACTIC_SHARED_MEMORY, or leave it out.",
    ),
    (
        r"Could not find any implementation",
        "Raise memory_pool_limits.WORKSPACE, put tactic_sources back to the default, or try another precision.",
    ),
    (
        r"HW-specific datatypes",
        "The target has no arithmetic for a type that the model uses: build for a newer one.",
    ),
    (
        r"incompatible device|compute capability|different GPU",
        "Engines run only on the type of GPU they were built for: build one for this one.",
    ),
)


class TrtLog:
    """One logger for the life of the process, and what it has heard since the last `forget`.

    One, because TensorRT keeps the first logger that it is given as a bare pointer and sends global
    messages there: a second one would miss errors, and a freed one would crash the process.

    Attributes:
        name: how people call the toolchain, such as `TensorRT 8.6.0`.
        logger: what TensorRT's constructors take.
        errors: messages of the severities ERROR and INTERNAL_ERROR, in order.
        warnings: messages of the severity WARNING, in order.
        cache_lines: what was said of timing caches, of any severity; whoever starts to listen clears it.
    """

    def __init__(self, trt: Any, name: str) -> None:
        self.name = name
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.cache_lines: list[str] = []
        self.logger = _make_logger(trt, self)

    def forget(self) -> None:
        """Starts a new operation: what was said before no longer explains a failure."""
        self.errors.clear()
        self.warnings.clear()

    def write(self, letter: str, message: str) -> None:
        """Takes one message; VERBOSE ones have no letter and are dropped."""
        if any(words in message for words in _OF_CACHES) and len(self.cache_lines) < _MOST_CACHE_LINES:
            self.cache_lines.append(message)
        if not letter:
            return
        for fragment, truth in _HARMLESS:
            if fragment in message:
                letter, message = "I", f"{truth} ({message.strip()})"
        if letter in "EF":
            self.errors.append(message)
        elif letter == "W":
            self.warnings.append(message)
        sys.stderr.write(f"[TRT] [{letter}] {message.rstrip()}\n")

    def quoted_errors(self) -> str:
        """The first few distinct errors on one line, without the places in NVIDIA's sources."""
        distinct = list(dict.fromkeys(plain_error(error) for error in self.errors))
        return "; ".join(distinct[:_QUOTED])


def log_of(trt: Any) -> TrtLog:
    """The process's log for a TensorRT module, made on first use."""
    return _log_of(trt)


@functools.cache
def _log_of(trt: Any) -> TrtLog:
    product = "TensorRT-RTX" if trt.__name__ == "tensorrt_rtx" else "TensorRT"
    return TrtLog(trt, f"{product} {trt.__version__}")


def _make_logger(trt: Any, log: TrtLog) -> Any:
    letters: dict[Any, str] = {
        member: _LETTERS.get(name, "W") for name, member in trt.ILogger.Severity.__members__.items()
    }

    class Logger(trt.ILogger):  # type: ignore[misc]  # the base is only known at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind11 asks for the explicit call

        def log(self, severity: Any, message: str) -> None:
            log.write(letters.get(severity, "W"), message)

    return Logger()


def plain_error(message: str) -> str:
    """A message without numbers, files and lines of NVIDIA's sources, on one line.

    >>> plain_error("4: [network.cpp::validate::29] Error Code 4: Internal Error (No output)")
    'Error Code 4: Internal Error (No output)'
    """
    text = re.sub(r"\s+", " ", message).strip()
    text = re.sub(r"^\d+: ", "", text)
    text = re.sub(r"^\[\S+?::\d+\] ", "", text)
    text = re.sub(r"^\w+::\w+: ", "", text)
    return re.sub(r" ?In [\w:~]+ at /\S+:\d+\)$", ")", text)


def failure(log: TrtLog, doing: str, *, needs_device: bool = True) -> FarmError:
    """The error for something that TensorRT would not do, by what it said meanwhile.

    Args:
        log: what was heard since the operation began.
        doing: what was tried, to follow the toolchain's name: `could not build the engine`.
        needs_device: whether a missing device can be the reason; builds ahead of time grumble
            about it and succeed all the same.
    """
    said = log.quoted_errors()
    message = f"{log.name} {doing}: {said or 'it gave no reason; its log is kept'}"
    # Some releases report a missing driver as a mere warning (8.6.0: error 35).
    if needs_device and any(_NO_DEVICE.search(text) for text in [*log.errors, *log.warnings]):
        no_device = [text for text in [*log.errors, *log.warnings] if _NO_DEVICE.search(text)]
        return DeviceUnavailableError(f"{log.name} {doing}: {plain_error(no_device[0])}")
    if any(_NO_MEMORY.search(text) for text in log.errors):
        return OutOfMemoryError(
            message,
            hint="Lower memory_pool_limits.WORKSPACE or the max shapes, or free the device's memory.",
        )
    return BuildError(message, hint=_hint(log.errors))


def spec_refusal(log: TrtLog, what: str) -> InvalidSpecError:
    """The error for an option or a shape that TensorRT would not take."""
    forget_device(log)
    said = log.quoted_errors()
    return InvalidSpecError(
        f"{log.name} refuses {what}" + (f": {said}" if said else ""), hint=_hint(log.errors)
    )


def forget_device(log: TrtLog) -> None:
    """Forgets that there is no device: builders ahead of time grumble about it beside what they refuse."""
    log.errors[:] = [error for error in log.errors if not _NO_DEVICE.search(error)]


def _hint(errors: Sequence[str]) -> str:
    for pattern, hint in _HINTS:
        if any(re.search(pattern, error) for error in errors):
            return hint
    return ""
