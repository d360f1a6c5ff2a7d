"""What an engine takes until its first answer: step by step, and what memory is used after each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from cli.startup_words import startup_lines
from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.models import Tensor
from workers.child.requests import AttemptRequest
from workers.child.startup import Startup
from workers.child.timed_call import TimedCall
from workers.toolchains import startup as module
from workers.toolchains.startup import StartupSteps, forget_peak, status_bytes
from workers.toolchains.toolchain import BuildInput

if TYPE_CHECKING:
    from collections.abc import Mapping

GIB = 1 << 30
ENGINE = Path("engine")


class Device:
    """Free memory that a test takes away, and a clock that it turns."""

    def __init__(self) -> None:
        self.free = 8 * GIB
        self.now = 0.0

    def memory(self) -> tuple[int, int]:
        return self.free, 8 * GIB

    def take(self, size: int, seconds: float) -> None:
        self.free -= size
        self.now += seconds


class Engine:
    """Doubles its input."""

    inputs = (Tensor("x", "float32", (-1, 2)),)
    outputs = (Tensor("y", "float32", (-1, 2)),)

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(inputs["x"].shape)
        return {"y": 2 * inputs["x"]}


class EngineOnDevice(Engine):
    """One that was loaded in steps."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device
        self.startup = StartupSteps(device.memory, lambda: device.now)
        for step, size, seconds in (
            ("device", GIB, 0.25),
            ("deserialise", 2 * GIB, 0.5),
            ("context", 3, 0.125),
        ):
            device.take(size, seconds)
            self.startup.done(step)

    def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self.device.take(1024, 2.0)
        return super().infer(inputs)


def request(*, is_build: bool = False) -> AttemptRequest:
    return AttemptRequest(
        "fake",
        "1",
        ENGINE,
        build=BuildInput(Path("model"), ENGINE, "fp32") if is_build else None,
        benchmark=BenchmarkSpec(),
        timed_calls=(TimedCall(4, {"x": (4, 2)}), TimedCall(8, {"x": (8, 2)})),
    )


def seen(engine: Any, asked: AttemptRequest) -> dict[str, Any]:
    startup = Startup()
    startup.begins()
    startup.loaded(engine, asked)
    return startup.ended()


def test_steps_are_timed_one_by_one_with_the_memory_after_each() -> None:
    found = seen(EngineOnDevice(Device()), request())
    steps = {step["step"]: step for step in found["steps"]}
    assert list(steps) == ["device", "deserialise", "context", "first inference"]
    assert [step["seconds"] for step in found["steps"]] == [0.25, 0.5, 0.125, 2.0]
    assert found["seconds"] == 2.875
    assert steps["deserialise"]["device_used_bytes"] == 3 * GIB
    assert steps["first inference"]["device_free_bytes"] == 5 * GIB - 3 - 1024
    assert (found["engine_bytes"], found["context_bytes"]) == (2 * GIB, 3)


def test_what_a_watcher_does_between_the_steps_is_in_none() -> None:
    device = Device()
    steps = StartupSteps(device.memory, lambda: device.now)
    device.now = 1
    steps.done("one")
    device.now = 5
    steps.go_on()
    device.now = 7
    steps.done("two")
    assert [step["seconds"] for step in steps.steps] == [1, 2]


def test_an_engine_without_steps_has_loading_and_the_first_inference() -> None:
    engine = Engine()
    found = seen(engine, request())
    assert [step["step"] for step in found["steps"]] == ["load", "first inference"]
    assert all("device_used_bytes" not in step for step in found["steps"])
    assert engine.asked == [(4, 2)], "the first of the shapes that are timed"
    assert found["batch"] == 4
    assert "engine_bytes" not in found


@pytest.mark.parametrize("is_build", [False, True])
def test_it_is_told_whether_the_process_was_a_fresh_one(is_build: bool) -> None:
    assert seen(Engine(), request(is_build=is_build))["fresh_process"] is not is_build


def test_nothing_is_told_where_nothing_was_run() -> None:
    startup = Startup()
    startup.built()
    assert startup.ended() == {}


def test_nothing_is_run_a_second_time_or_for_who_times_nothing() -> None:
    engine, startup = Engine(), Startup()
    startup.loaded(engine, replace(request(), benchmark=None))
    startup.loaded(engine, replace(request(), timed_calls=()))
    assert engine.asked == []
    startup.loaded(engine, request())
    startup.loaded(engine, request())
    assert engine.asked == [(4, 2)]


@pytest.mark.skipif(status_bytes("VmHWM") is None, reason="this system has no /proc/self/status")
def test_the_peaks_of_build_and_run_are_told_apart() -> None:
    startup = Startup()
    most = np.ones(64 << 20, np.uint8)
    assert most.all()
    startup.built()
    del most
    startup.begins()
    startup.loaded(Engine(), request())
    peaks = startup.ended()["host_peak_bytes"]
    assert peaks["build"] - peaks["run"] > 48 << 20


def test_a_system_that_tells_no_memory_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROC", tmp_path / "nothing")
    forget_peak()
    assert status_bytes("VmHWM") is None
    found = seen(Engine(), request())
    assert found["host_peak_bytes"] == {}
    assert all(set(step) == {"step", "seconds"} for step in found["steps"])


def test_words_for_people() -> None:
    device = Device()
    found = {**seen(EngineOnDevice(device), request()), "host_peak_bytes": {"build": 3 << 20, "run": 2 << 20}}
    assert startup_lines(found) == [
        (
            "first answer",
            "after 2.88 s at batch 4 in a fresh process: device 250.0 ms, deserialise 500.0 ms, context 125.0 ms, "
            "first inference 2.00 s",
        ),
        (
            "on the device",
            "engine 2.00 GiB, context 3 B, 3.00 GiB in use after the first answer, by whomever",
        ),
        ("on the host", "peak 3.0 MiB of the build, 2.0 MiB of the run"),
    ]
    assert startup_lines({}) == []
