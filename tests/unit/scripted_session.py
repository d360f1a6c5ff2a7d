"""A timed session whose every iteration takes as long as a script says, on a clock of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from farm.domain.methods import Method
from workers.toolchains.toolchain import IterationTimes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class ScriptedSession:
    """A session that needs no time, and tells whoever asks `now` that it took some.

    Args:
        compute_ms: of the n-th iteration, from 0 on.
        method: how it says that it is timed.
        transfers_ms: how long its copies take.
        begin: what its clock shows at first, in seconds.
    """

    def __init__(
        self,
        compute_ms: Callable[[int], float],
        method: Method | None = None,
        transfers_ms: tuple[float, float] = (0.0, 0.0),
        begin: float = 0.0,
    ) -> None:
        self.method = method or Method()
        self.is_graph = self.method.graph
        self.has_transfers = True
        self.iterations = 0
        self.bursts: list[int] = []
        self._compute_ms = compute_ms
        self._h2d, self._d2h = transfers_ms
        self._now = begin

    def now(self) -> float:
        """Its clock."""
        return self._now

    def iterate(self) -> IterationTimes:
        """The next iteration."""
        times = IterationTimes(self._h2d, self._compute_ms(self.iterations), self._d2h)
        self.iterations += 1
        self._now += sum(times) / 1000
        return times

    def burst(self, count: int) -> float:
        """As long as that many computations like the next one."""
        self.bursts.append(count)
        return count * self._compute_ms(self.iterations) / 1000

    def close(self) -> None:
        """Nothing to give back."""

    @staticmethod
    def counted_s(samples: NDArray[np.float64]) -> float:
        """How long the samples took on its clock."""
        return float(samples.sum()) / 1000


def noisy(spread: float, seed: int = 0, middle_ms: float = 1.0) -> Callable[[int], float]:
    """Iterations whose logarithms are normal with that spread, each alike for some milliseconds.

    Args:
        spread: standard deviation of the logarithm.
        seed: of the noise.
        middle_ms: its median.
    """
    draws = np.random.default_rng(seed).standard_normal(200_000)
    # Each third of what the one before was: what follows is alike for a few iterations.
    correlated = np.convolve(draws, [0.94, 0.31, 0.1, 0.03])[: len(draws)]
    values = middle_ms * np.exp(spread * correlated)
    return lambda position: float(values[position])
