"""What TensorRT's own log says of a failure."""

from __future__ import annotations

import pytest

from farm.domain.errors import BuildError, DeviceUnavailableError, OutOfMemoryError
from tests.unit.trt.surface import log_for, surface
from workers.toolchains.trt_log import failure, plain_error


@pytest.mark.parametrize(
    ("letter", "message", "kind"),
    [
        (
            "E",
            "1: [defaultAllocator.cpp::allocate::20] Error Code 1: Cuda Runtime (out of memory)",
            OutOfMemoryError,
        ),
        ("E", "2: [a.cpp::b::3] Error Code 2: OutOfMemory (no further information)", OutOfMemoryError),
        ("W", "CUDA initialization failure with error: 35", DeviceUnavailableError),
        ("E", "6: CUDA initialization failure with error: 100", DeviceUnavailableError),
        (
            "E",
            "10: [o.cpp::c::9] Error Code 10: Internal Error (Could not find any implementation for node X.)",
            BuildError,
        ),
    ],
)
def test_the_log_decides_what_kind_of_failure_it_was(
    letter: str, message: str, kind: type[Exception]
) -> None:
    log = log_for(surface("8.6.0"))
    log.write(letter, message)
    assert type(failure(log, "could not build the engine")) is kind


def test_a_failure_quotes_the_first_errors_and_hints() -> None:
    log = log_for(surface("8.6.0"))
    for index in range(6):
        log.write(
            "E", f"4: [network.cpp::validate::{index}] Error Code 4: Internal Error (reason {min(index, 4)})"
        )
        log.write(
            "E", f"4: [network.cpp::validate::{index}] Error Code 4: Internal Error (reason {min(index, 4)})"
        )
    assert log.quoted_errors().count("reason") == 3
    log.forget()
    log.write("E", "Error Code 1: Myelin (Cannot compile 'm' for Turing (SM75): FP32 GEMM is not supported.)")
    error = failure(log, "could not build the engine")
    assert error.message.startswith("TensorRT 8.6.0 could not build the engine: Error Code 1")
    assert "8.0 or later" in error.hint


def test_a_build_ahead_of_time_does_not_blame_the_missing_device() -> None:
    log = log_for(surface("11.4.0.106"))
    log.write("E", "Error Code 1: Cuda Runtime (cudaError 35: CUDA driver version is insufficient)")
    log.write("E", "Error Code 2: Internal Error (something else)")
    assert type(failure(log, "could not build", needs_device=False)) is BuildError


def test_myelins_word_on_the_timing_cache_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    log = log_for(surface("8.6.0"))
    log.write("E", "Myelin error from unknown graph in cache. The timing cache will not be used!")
    assert not log.errors
    assert "the rest of it is used" in capsys.readouterr().err


def test_verbose_lines_are_dropped_and_others_kept(capsys: pytest.CaptureFixture[str]) -> None:
    trt = surface("8.6.0")
    log = log_for(trt)
    log.logger.log(trt.ILogger.Severity.VERBOSE, "noise")
    log.logger.log(trt.ILogger.Severity.INFO, "news\n")
    log.logger.log(trt.ILogger.Severity.ERROR, "trouble")
    assert capsys.readouterr().err == "[TRT] [I] news\n[TRT] [E] trouble\n"
    assert log.errors == ["trouble"]


def test_places_in_nvidias_sources_are_left_out() -> None:
    text = (
        "IBuilder::build: Error Code 2: Internal (no\n reason In createGraph at /_src/optimizer/m.cpp:1203)"
    )
    assert plain_error(text) == "Error Code 2: Internal (no reason)"
