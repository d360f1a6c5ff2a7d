"""Times a PyTorch model: by CUDA's events on a GPU, by the host's clock on a CPU."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Mapping

from workers.toolchains.toolchain import IterationTimes, TimedSession

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from workers.toolchains.torch_engine import LoadedTorch

#: TorchScript optimizes itself in the first runs with a shape, and torch.compile compiles in the first one.
_FIRST_RUNS = 3


def torch_sessions(torch: Any, engine: LoadedTorch, inputs: Mapping[str, NDArray[Any]]) -> list[TimedSession]:
    """The ways to time a model on some inputs."""
    return [_OnGpu(torch, engine, inputs) if engine.device == "cuda" else _OnCpu(engine, inputs)]


class _OnCpu:
    """A model with its inputs in place."""

    is_graph = False
    has_transfers = False

    def __init__(self, engine: LoadedTorch, inputs: Mapping[str, NDArray[Any]]) -> None:
        self._engine = engine
        engine.settle()
        self._call: Any = engine.call(engine.on_device(engine.on_host(inputs)))
        for _ in range(_FIRST_RUNS):
            engine.run(self._call)

    def iterate(self) -> IterationTimes:
        """One run, by the host's clock."""
        begin = time.perf_counter_ns()
        self._engine.run(self._call)
        return IterationTimes(0.0, (time.perf_counter_ns() - begin) / 1e6, 0.0)

    def burst(self, count: int) -> float:
        """Runs back to back."""
        begin = time.perf_counter()
        for _ in range(count):
            self._engine.run(self._call)
        return time.perf_counter() - begin

    def close(self) -> None:
        """Lets the inputs go."""
        self._call = None


class _OnGpu:
    """A model with inputs and outputs in pinned memory of the host, timed by the events of PyTorch's own stream."""

    is_graph = False
    has_transfers = True

    def __init__(self, torch: Any, engine: LoadedTorch, inputs: Mapping[str, NDArray[Any]]) -> None:
        self._torch = torch
        self._engine = engine
        engine.settle()
        tensors = engine.on_host(inputs)
        self._there = engine.on_device(tensors)
        # In the memory format of the device's copy, so that a transfer moves bytes and nothing else.
        self._here = [torch.empty_like(there, device="cpu", pin_memory=True).copy_(there) for there in self._there]
        self._call: Any = engine.call(self._there)
        for _ in range(_FIRST_RUNS):
            leaves = engine.leaves(engine.run(self._call))
        self._results = [torch.empty_like(leaf, device="cpu", pin_memory=True) for leaf in leaves]
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
        torch.cuda.synchronize()

    def iterate(self) -> IterationTimes:
        """Inputs in, one run, outputs out, each between two events."""
        begin, fed, done, end = self._events
        begin.record()
        for there, here in zip(self._there, self._here):
            there.copy_(here, non_blocking=True)
        fed.record()
        results = self._engine.run(self._call)
        done.record()
        for here, leaf in zip(self._results, self._engine.leaves(results)):
            here.copy_(leaf, non_blocking=True)
        end.record()
        end.synchronize()
        return IterationTimes(begin.elapsed_time(fed), fed.elapsed_time(done), done.elapsed_time(end))

    def burst(self, count: int) -> float:
        """Runs back to back, by the host's clock, until the last one is done."""
        self._torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(count):
            self._engine.run(self._call)
        self._torch.cuda.synchronize()
        return time.perf_counter() - begin

    def close(self) -> None:
        """Gives the buffers back."""
        self._call, self._here, self._there, self._results = None, [], [], []
