"""Times a PyTorch model: by CUDA's events on a GPU, by the host's clock on a CPU; inputs taken in turns."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Protocol, Sequence

import numpy as np

from farm.domain.methods import Method
from workers.toolchains.toolchain import IterationTimes, TimedSession

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Inputs = Sequence[Mapping[str, NDArray[Any]]]

#: TorchScript optimizes itself in the first runs with a shape, and torch.compile compiles in the first one.
_FIRST_RUNS = 3
#: How many runs are under way or waiting, as in `cuda_sessions`, so that the device does not wait for the host.
_DEPTH = 2


class TorchModel(Protocol):
    """A model, live on a device, as far as it takes to time it."""

    #: `cuda` or `cpu`.
    device: str

    def settle(self) -> None:
        """Sets what holds for the whole process."""

    def on_host(self, inputs: Mapping[str, NDArray[Any]]) -> list[Any]:
        """The inputs as tensors in the host's memory, in the model's order."""

    def on_device(self, tensors: list[Any]) -> list[Any]:
        """Copies where the model is."""

    def run(self, tensors: Sequence[Any]) -> Any:
        """What the model gives; does not wait for a GPU."""

    def leaves(self, results: Any) -> list[Any]:
        """The tensors of what the model gave, in order."""


def sessions_by(
    torch: Any, engine: TorchModel, inputs: Inputs, methods: Sequence[Method], *, is_blocking: bool = False
) -> Iterator[TimedSession]:
    """Plain launches, with and without transfers, one at a time: what PyTorch does by itself.

    Args:
        torch: PyTorch's module.
        engine: what is timed.
        inputs: of one shape, taken in turns.
        methods: what is asked for; all else gives way to these two.
        is_blocking: whether the host sleeps while it waits for the GPU.
    """
    if engine.device == "cpu":
        ways = [Method()]
    else:
        ways = list(dict.fromkeys(Method(transfers=method.transfers) for method in methods))
    left_out = [str(method) for method in methods if method not in ways]
    if left_out:
        sys.stderr.write(
            f"[torch] [I] not timed as {', '.join(left_out)}: calls of the model are launched plainly\n"
        )
    for way in ways:
        with closing(session_by(torch, engine, inputs, way, is_blocking=is_blocking)) as session:
            yield session


def session_by(
    torch: Any, engine: TorchModel, inputs: Inputs, method: Method, *, is_blocking: bool = False
) -> TimedSession:
    """One way to time a model: on a CPU always the same."""
    if engine.device == "cpu":
        return _OnCpu(engine, inputs)
    if method.transfers:
        return _WithTransfers(torch, engine, inputs, is_blocking=is_blocking)
    return _InPlace(torch, engine, inputs, is_blocking=is_blocking)


class _Calls:
    """The calls that are taken in turns; the model has run with their shapes before anything is timed."""

    def __init__(self, engine: TorchModel, inputs: Inputs) -> None:
        engine.settle()
        self._engine = engine
        self._calls = [engine.on_device(engine.on_host(arrays)) for arrays in inputs]
        for _ in range(_FIRST_RUNS):
            self.last = engine.run(self._calls[0])
        self._turn = 0

    def settle(self) -> None:
        """Once more: another model of this process may be timed in turns with it, in another precision."""
        self._engine.settle()

    def next(self) -> list[Any]:
        """The next one."""
        self._turn = (self._turn + 1) % len(self._calls)
        return self._calls[self._turn]

    def run(self) -> Any:
        """What the model gives for the next one."""
        return self._engine.run(self.next())

    def close(self) -> None:
        """Lets the inputs go."""
        self._calls, self.last = [], None


class _OnCpu:
    """A model with its inputs in place."""

    is_graph = False
    has_transfers = False
    method = Method()

    def __init__(self, engine: TorchModel, inputs: Inputs) -> None:
        self._engine = engine
        self._calls = _Calls(engine, inputs)

    def iterate(self) -> IterationTimes:
        """One run, by the host's clock."""
        self._calls.settle()
        call = self._calls.next()
        begin = time.perf_counter_ns()
        self._engine.run(call)
        return IterationTimes(0.0, (time.perf_counter_ns() - begin) / 1e6, 0.0)

    def burst(self, count: int) -> float:
        """Runs back to back."""
        self._calls.settle()
        begin = time.perf_counter()
        for _ in range(count):
            self._calls.run()
        return time.perf_counter() - begin

    def close(self) -> None:
        """Lets the inputs go."""
        self._calls.close()


class _InPlace:
    """A model on a GPU with its inputs there: only the launches are between the events of PyTorch's own stream."""

    is_graph = False
    has_transfers = False
    method = Method(transfers=False)

    def __init__(self, torch: Any, engine: TorchModel, inputs: Inputs, *, is_blocking: bool) -> None:
        self._torch = torch
        self._calls = _Calls(engine, inputs)
        self._is_blocking = is_blocking
        self._slots = [(self._event(), self._event()) for _ in range(_DEPTH)]
        torch.cuda.synchronize()

    def iterate(self) -> IterationTimes:
        """One run, waited for."""
        return IterationTimes(*self.iterate_many(1)[0])

    def iterate_many(self, count: int) -> NDArray[np.float64]:
        """Runs one after another, the next one launched before the last has ended."""
        self._calls.settle()
        times = np.zeros((count, 3))
        for number in range(count + _DEPTH):
            begin, end = self._slots[number % _DEPTH]
            if number >= _DEPTH and number - _DEPTH < count:
                end.synchronize()
                times[number - _DEPTH, 1] = begin.elapsed_time(end)
            if number < count:
                begin.record()
                self._calls.run()
                end.record()
        return times

    def burst(self, count: int) -> float:
        """Runs back to back, by the host's clock, until the last one is done."""
        self._calls.settle()
        self._torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(count):
            self._calls.run()
        self._torch.cuda.synchronize()
        return time.perf_counter() - begin

    def close(self) -> None:
        """Gives the buffers back."""
        self._calls.close()

    def _event(self) -> Any:
        return self._torch.cuda.Event(enable_timing=True, blocking=self._is_blocking)


class _WithTransfers(_InPlace):
    """The same with inputs and outputs in pinned memory of the host, which are copied around each run."""

    has_transfers = True
    method = Method()

    def __init__(self, torch: Any, engine: TorchModel, inputs: Inputs, *, is_blocking: bool) -> None:
        # One place on the device, and inputs on the host that are taken in turns.
        super().__init__(torch, engine, inputs[:1], is_blocking=is_blocking)
        self._engine = engine
        self._there = engine.on_device(engine.on_host(inputs[0]))
        self._sources = [
            # In the memory format of the device's copy, so that a transfer moves bytes and nothing else.
            [torch.empty_like(there, device="cpu", pin_memory=True).copy_(tensor)
             for there, tensor in zip(self._there, engine.on_host(arrays))]
            for arrays in inputs
        ]  # fmt: skip
        leaves = engine.leaves(self._calls.last)
        self._results = [torch.empty_like(leaf, device="cpu", pin_memory=True) for leaf in leaves]
        self._events = [self._event() for _ in range(4)]
        self._next = 0
        torch.cuda.synchronize()

    def iterate(self) -> IterationTimes:
        """Inputs in, one run, outputs out, each between two events."""
        self._calls.settle()
        begin, fed, done, end = self._events
        self._next = (self._next + 1) % len(self._sources)
        begin.record()
        for there, here in zip(self._there, self._sources[self._next]):
            there.copy_(here, non_blocking=True)
        fed.record()
        results = self._engine.run(self._there)
        done.record()
        for here, leaf in zip(self._results, self._engine.leaves(results)):
            here.copy_(leaf, non_blocking=True)
        end.record()
        end.synchronize()
        return IterationTimes(begin.elapsed_time(fed), fed.elapsed_time(done), done.elapsed_time(end))

    def iterate_many(self, count: int) -> NDArray[np.float64]:
        """One after another, each waited for: its inputs have one place."""
        return np.asarray([self.iterate() for _ in range(count)], dtype=np.float64).reshape(count, 3)

    def close(self) -> None:
        """Gives the buffers back."""
        super().close()
        self._there, self._sources, self._results = [], [], []
