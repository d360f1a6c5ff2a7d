"""Timing an engine on inputs that stay in place, one inference after another or several at once.

Follows trtexec's definitions: compute time is between two CUDA events around the launch, the
transfers' times are between events around the copies; see docs/measuring.md.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, List, Sequence

import numpy as np

from farm.domain.methods import Method
from workers.toolchains.cuda_driver import DeviceBuffer, Gpu, cleanup, cuda_errors
from workers.toolchains.toolchain import IterationTimes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from workers.toolchains.cuda_launches import PlainLaunch

#: How many inferences of one stream are under way or waiting: the next is enqueued before the last has ended, so that
#: the device never waits for the host. As trtexec has it ("double buffered").
_DEPTH = 2
#: How much larger than the L2 cache what is written to empty it is.
_FLUSH_FACTOR = 2


class Flush:
    """Empties the L2 cache of the device by writing to twice as many bytes."""

    def __init__(self, gpu: Gpu) -> None:
        self._words = max(_FLUSH_FACTOR * gpu.l2_bytes // 4, 1)
        self._buffer = DeviceBuffer(gpu, 4 * self._words)

    def enqueue(self, gpu: Gpu) -> None:
        """Before whatever follows on the stream."""
        gpu.drv.memset_d32_async(self._buffer.address, 0, self._words, gpu.stream)

    def close(self) -> None:
        """Gives the memory back."""
        self._buffer.close()


class SerialSession:
    """One inference with its transfers; the host waits for it before it starts the next.

    Args:
        launch: what is timed; closed with the session.
        is_blocking: whether the host sleeps while it waits; else it asks again and again.
        flush: what empties the L2 cache before each iteration; none to leave it as it is.
    """

    has_transfers = True

    def __init__(self, launch: PlainLaunch, *, is_blocking: bool = False, flush: Flush | None = None) -> None:
        self.is_graph = launch.is_graph
        self.method = Method(graph=launch.is_graph, flushed=flush is not None)
        self._launch = launch
        self._flush = flush
        self._gpu = launch.gpu
        self._events = new_events(self._gpu, 4, is_blocking=is_blocking)

    def iterate(self) -> IterationTimes:
        """Copies the inputs in, runs once, copies the outputs out, and waits; each part timed."""
        self._launch.make_ready()
        with cuda_errors(self._gpu.drv, "timing the engine"):
            enqueue_timed(self._launch, self._events, self._flush)
            return times_of(self._events)

    def burst(self, count: int) -> float:
        """Runs `count` times back to back without transfers; the host's seconds from first to last."""
        self._launch.make_ready()
        with cuda_errors(self._gpu.drv, "timing the engine"):
            self._gpu.stream.synchronize()
            began = time.perf_counter()
            for _ in range(count):
                self._launch.launch()
            self._gpu.stream.synchronize()
            return time.perf_counter() - began

    def close(self) -> None:
        """Gives the buffers back."""
        with cleanup():
            self._gpu.stream.synchronize()
        self._events.clear()
        self._launch.close()


class PipelinedSession:
    """Inferences on one stream or several, the next one enqueued before the last has ended, as trtexec does.

    Args:
        launches: one for each stream; closed with the session.
        transfers: whether inputs are copied in and outputs out.
        is_blocking: whether the host sleeps while it waits.
        flush: what empties the L2 cache before each iteration; of one stream only.
    """

    def __init__(
        self,
        launches: Sequence[PlainLaunch],
        *,
        transfers: bool,
        is_blocking: bool = False,
        flush: Flush | None = None,
    ) -> None:
        self.is_graph = launches[0].is_graph
        self.has_transfers = transfers
        self.method = Method(self.is_graph, transfers, len(launches), flush is not None)
        self._launches = list(launches)
        self._flush = flush
        self._drv = launches[0].gpu.drv
        # All streams once, then all once more: the one that is waited for is the one that was begun first.
        self._slots = [
            (launch, new_events(launch.gpu, 4 if transfers else 2, is_blocking=is_blocking))
            for _ in range(_DEPTH)
            for launch in self._launches
        ]

    def iterate(self) -> IterationTimes:
        """One inference alone."""
        return IterationTimes(*self.iterate_many(1)[0])

    def iterate_many(self, count: int) -> NDArray[np.float64]:
        """That many inferences, as many under way at once as the streams take."""
        times = np.zeros((count, 3))
        self._make_ready()
        with cuda_errors(self._drv, "timing the engine"):
            for number in range(count + len(self._slots)):
                launch, events = self._slots[number % len(self._slots)]
                before = number - len(self._slots)
                if 0 <= before < count:
                    times[before] = times_of(events)
                if number < count:
                    enqueue_timed(launch, events, self._flush)
        return times

    def burst(self, count: int) -> float:
        """That many inferences, with their transfers if it has them; the host's seconds from first to last."""
        self._make_ready()
        with cuda_errors(self._drv, "timing the engine"):
            self._synchronize()
            began = time.perf_counter()
            for number in range(count):
                launch = self._launches[number % len(self._launches)]
                if self.has_transfers:
                    launch.binding.copy_in()
                launch.launch()
                if self.has_transfers:
                    launch.binding.copy_out()
            self._synchronize()
            return time.perf_counter() - began

    def close(self) -> None:
        """Gives the buffers back."""
        with cleanup():
            self._synchronize()
        self._slots.clear()
        for launch in self._launches:
            launch.close()

    def _make_ready(self) -> None:
        for launch in self._launches:
            launch.make_ready()

    def _synchronize(self) -> None:
        for launch in self._launches:
            launch.gpu.stream.synchronize()


def new_events(gpu: Gpu, count: int, *, is_blocking: bool) -> List[Any]:
    """Events that keep the time."""
    with cuda_errors(gpu.drv, "preparing to time the engine"):
        flags = gpu.drv.event_flags.BLOCKING_SYNC if is_blocking else 0
        return [gpu.drv.Event(flags) for _ in range(count)]


def enqueue_timed(launch: PlainLaunch, events: Sequence[Any], flush: Flush | None) -> None:
    """One inference between events: two around the launch, or four with those around the copies."""
    gpu, binding = launch.gpu, launch.binding
    if flush is not None:
        flush.enqueue(gpu)
    if len(events) == 2:
        events[0].record(gpu.stream)
        launch.launch()
        events[1].record(gpu.stream)
        return
    events[0].record(gpu.stream)
    binding.copy_in()
    events[1].record(gpu.stream)
    launch.launch()
    events[2].record(gpu.stream)
    binding.copy_out()
    events[3].record(gpu.stream)


def times_of(events: Sequence[Any]) -> IterationTimes:
    """Waits for the last event; the times between them."""
    events[-1].synchronize()
    spans = [before.time_till(after) for before, after in pairwise(events)]
    return IterationTimes(*spans) if len(spans) > 1 else IterationTimes(0.0, spans[0], 0.0)
