"""A session's iterations block by block: warmed up until times have settled, then until the median is known.

One `Blocks` is one measurement. Two of them taken in turns, block by block, are a comparison.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, List, Optional, Tuple

import numpy as np

from farm.domain.intervals import half_width_percent, median_interval
from workers.toolchains.timing import IteratesMany

if TYPE_CHECKING:
    from typing import Callable

    from numpy.typing import NDArray

    from farm.domain.benchmarks import BenchmarkSpec
    from workers.toolchains.toolchain import TimedSession

#: How long a block lasts, in seconds, if the benchmark is not shorter than ten of them: long against an iteration's
#: own noise and the scheduler's time slices (some milliseconds), short enough for a dozen within the least duration.
BLOCK_S = 0.02
#: Warm-up ends when the medians of so many blocks and of as many before them ...
_WARM_BLOCKS = 3
#: ... are within this share of each other: twice the precision that is asked for by default.
_WARM_SHARE = 0.01
#: And at the latest after so many times the least warm-up.
_LONGEST_WARM_UP = 5
#: The interval is looked at again when the time has grown by this factor, not after every block: who looks often
#: stops at the first narrow one that chance brings. For the same reason it must be narrow twice in a row, or at once
#: this many times as narrow. On synthetic noise 88 to 94 of 100 such intervals hold the true median: 94 where samples
#: know nothing of each other, 88 where each is like those of a whole block before it.
_LOOK_AGAIN = 1.15
_SURE = 2.0


class Blocks:
    """One session's blocks.

    Attributes:
        session: what is timed.
        warmup_s: how long it was warmed up.
        elapsed_s: how long its blocks took together, by the host's clock.
        begin: when the first block began, on the host's monotonic clock; none before.
        end: when the last one ended.
    """

    def __init__(
        self, session: TimedSession, spec: BenchmarkSpec, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.session = session
        self.warmup_s = 0.0
        self.elapsed_s = 0.0
        self.begin: Optional[float] = None
        self.end: Optional[float] = None
        self._spec = spec
        self._clock = clock
        self._block_s = min(BLOCK_S, spec.duration_ms / 10_000)
        self._size = 1
        self._blocks: List[NDArray[np.float64]] = []
        self._looked_at_s = 0.0
        self._was_narrow = False
        self._is_sure = False

    def warm_up(self, *, is_warm: bool = False) -> None:
        """Runs one iteration, then blocks until the least time is over and times have settled, within bounds.

        Args:
            is_warm: whether the device has just run the same shape another way: then only times must settle.
        """
        begin = self._clock()
        least_s = self._spec.warmup_ms / 1000
        medians: List[float] = []
        self._iterate(1)
        self._fit_size(self._clock() - begin, 1)
        while True:
            elapsed = self.warmup_s = self._clock() - begin
            if elapsed >= _LONGEST_WARM_UP * least_s:
                return
            if (is_warm or elapsed >= least_s) and _have_settled(medians):
                return
            before, size = self._clock(), self._size
            medians.append(float(np.median(self._iterate(size)[:, 1])))
            self._fit_size(self._clock() - before, size)

    def run_block(self) -> NDArray[np.float64]:
        """One more block, of equal size to the others.

        Returns:
            h2d, compute and d2h in milliseconds, shape `(iterations, 3)`.
        """
        size = max(min(self._size, self._spec.max_iterations - self.count), 1)
        begin = self._clock()
        if self.begin is None:
            self.begin = begin
        block = self._iterate(size)
        self.end = self._clock()
        self.elapsed_s += self.end - begin
        self._blocks.append(block)
        return block

    @property
    def blocks(self) -> Tuple[NDArray[np.float64], ...]:
        """The blocks so far, each of shape `(iterations, 3)`."""
        return tuple(self._blocks)

    @property
    def count(self) -> int:
        """How many iterations were counted so far."""
        return sum(map(len, self._blocks))

    @property
    def samples(self) -> NDArray[np.float64]:
        """All iterations so far, shape `(iterations, 3)`."""
        return np.concatenate(self._blocks) if self._blocks else np.empty((0, 3))

    @property
    def share(self) -> float:
        """How much of the least duration and count is done, from 0 to 1."""
        spec = self._spec
        return min(1000 * self.elapsed_s / spec.duration_ms, self.count / spec.min_iterations, 1.0)

    @property
    def is_done(self) -> bool:
        """Whether the median is known well enough, or the time or the iterations are used up."""
        spec, elapsed_ms = self._spec, 1000 * self.elapsed_s
        if self.count >= spec.max_iterations:
            return True
        if self.count < spec.min_iterations or elapsed_ms < spec.duration_ms:
            return False
        if elapsed_ms >= spec.longest_ms:
            return True
        if self.elapsed_s >= _LOOK_AGAIN * self._looked_at_s:
            self._looked_at_s = self.elapsed_s
            self._is_sure = self._is_surely_settled()
        return self._is_sure

    def interval(self) -> Optional[Tuple[float, float]]:
        """Lowest and highest value of the median of compute at 95 %; none of fewer than two blocks."""
        return median_interval([block[:, 1] for block in self._blocks])

    def half_width_percent(self) -> Optional[float]:
        """How far the interval's farther end is from the median, in percent of it; none where there is no interval."""
        interval = self.interval()
        return (
            None if interval is None else half_width_percent(interval, float(np.median(self.samples[:, 1])))
        )

    def _is_surely_settled(self) -> bool:
        if self._spec.takes_any_interval:
            return True
        half = self.half_width_percent()
        was_narrow, self._was_narrow = (
            self._was_narrow,
            half is not None and half <= self._spec.half_width_percent,
        )
        return self._was_narrow and (was_narrow or _SURE * (half or 0.0) <= self._spec.half_width_percent)

    def _iterate(self, count: int) -> NDArray[np.float64]:
        session = self.session
        if isinstance(session, IteratesMany):
            return session.iterate_many(count)
        times = [session.iterate() for _ in range(count)]
        return np.asarray(times, dtype=np.float64).reshape(count, 3)

    def _fit_size(self, elapsed_s: float, count: int) -> None:
        """How many iterations last as long as a block; at most eight times as many as those that it is known from."""
        wanted = round(count * self._block_s / elapsed_s) if elapsed_s > 0 else 8 * count
        self._size = max(1, min(wanted, 8 * count))


def _have_settled(medians: List[float]) -> bool:
    if len(medians) < 2 * _WARM_BLOCKS:
        return False
    late = float(np.median(medians[-_WARM_BLOCKS:]))
    early = float(np.median(medians[-2 * _WARM_BLOCKS : -_WARM_BLOCKS]))
    return abs(late - early) <= _WARM_SHARE * early
