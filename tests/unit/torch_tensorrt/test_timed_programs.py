"""A compiled program is timed by events around copies in, the run, and copies out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from workers.toolchains.torch_program import LoadedProgram


class Clock:
    """A device on which everything takes a millisecond more than the thing before."""

    def __init__(self) -> None:
        self.now, self.said = 0.0, list[str]()

    def do(self, what: str, takes: float) -> None:
        self.said.append(what)
        self.now += takes


def fake_torch(clock: Clock) -> Any:
    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = clock.now

        def synchronize(self) -> None:
            clock.said.append("wait")

        def elapsed_time(self, end: Event) -> float:
            return end.at - self.at

    cuda = SimpleNamespace(
        Event=Event, synchronize=lambda: clock.said.append("wait"), empty_cache=lambda: None
    )
    return SimpleNamespace(cuda=cuda)


class Tensor:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def pin_memory(self) -> Tensor:
        return Tensor(self.clock)

    def to(self, device: str, *, non_blocking: bool = False) -> Tensor:
        if device == "cpu":
            assert non_blocking
            self.clock.do("out", 4)
        return Tensor(self.clock)

    def copy_(self, other: Tensor, *, non_blocking: bool) -> None:
        assert non_blocking
        self.clock.do("in", 1)


class Program(LoadedProgram):
    def __init__(self, clock: Clock) -> None:
        super().__init__(fake_torch(clock), SimpleNamespace(module=lambda: None), (), (), "cuda")
        self.clock = clock

    def as_tensors(self, inputs: Any) -> list[Any]:
        return [Tensor(self.clock)]

    def run(self, tensors: list[Any]) -> Any:
        self.clock.do("run", 2)
        return Tensor(self.clock)

    def leaves(self, results: Any) -> list[Any]:
        return [results]


def test_an_inference_is_copies_in_a_run_and_copies_out() -> None:
    clock = Clock()
    (session,) = Program(clock).timed_sessions({})
    assert session.has_transfers
    assert not session.is_graph
    assert session.iterate() == (1, 2, 4)
    assert clock.said == ["in", "run", "out", "wait"]


def test_a_burst_runs_without_copies_and_waits_once_at_the_end() -> None:
    clock = Clock()
    (session,) = Program(clock).timed_sessions({})
    assert session.burst(3) >= 0
    assert clock.said == ["wait", "run", "run", "run", "wait"]
