"""Two engines in turn: the order of their blocks, when it ends, and what is said. The clock is the test's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.methods import Method
from tests.unit.scripted_session import ScriptedSession, noisy
from workers.child.compare import LEAST_ROUNDS, compare

if TYPE_CHECKING:
    from farm.domain.comparisons import Comparison


class Duel:
    """Two sessions on one clock, and who ran when."""

    def __init__(self, a: ScriptedSession, b: ScriptedSession) -> None:
        self.sessions = (a, b)
        self.shares: list[float] = []

    def now(self) -> float:
        return sum(session.now() for session in self.sessions)

    def fought(self, **wishes: Any) -> Comparison:
        spec = BenchmarkSpec(**{"warmup_ms": 0, "duration_ms": 200, "max_duration_ms": 2000, **wishes})
        return compare(self.sessions, spec, 8, Method(graph=True), self.shares.append, clock=self.now)


def steady(ms: float) -> ScriptedSession:
    return ScriptedSession(lambda _position: ms)


def test_the_faster_one_is_told_by_how_much() -> None:
    found = Duel(steady(2.0), steady(1.5)).fought()
    assert (found.batch, found.method) == (8, "cuda-graph")
    assert (found.a_median_ms, found.b_median_ms) == (2.0, 1.5)
    assert found.verdict == "B is 25.0 % faster (25.0 to 25.0)"


def test_blocks_are_run_in_the_order_a_b_b_a() -> None:
    order: list[str] = []

    class Noted(ScriptedSession):
        def __init__(self, name: str) -> None:
            # A block of its own each, and the one iteration before it.
            super().__init__(lambda _position: 50.0)
            self.name = name

        def iterate(self) -> Any:
            order.append(self.name)
            return super().iterate()

    Duel(Noted("A"), Noted("B")).fought()
    assert "".join(order).endswith("AABBBBAA" * LEAST_ROUNDS)


def test_what_drifts_for_both_is_no_difference() -> None:
    clock: list[ScriptedSession] = []

    def hot(_position: int) -> float:
        return 1.0 + sum(session.now() for session in clock)

    clock += [ScriptedSession(hot), ScriptedSession(hot)]
    found = Duel(*clock).fought()
    assert found.b_median_ms / found.a_median_ms == pytest.approx(1.0, abs=0.02)
    assert not found.is_told_apart


def test_it_goes_on_until_the_ratio_is_known_well_enough() -> None:
    quiet = Duel(ScriptedSession(noisy(0.01, 1)), ScriptedSession(noisy(0.01, 2))).fought()
    loud = Duel(ScriptedSession(noisy(0.2, 3)), ScriptedSession(noisy(0.2, 4)))
    found = loud.fought(precision_percent=1.5, max_duration_ms=20_000)
    assert found.pairs > quiet.pairs
    assert found.half_width_percent <= 1.5


def test_it_ends_when_the_time_is_up_however_unsure_it_is() -> None:
    duel = Duel(ScriptedSession(noisy(1.0, 5)), ScriptedSession(noisy(1.0, 6)))
    found = duel.fought(precision_percent=0.01)
    assert found.half_width_percent > 0.01
    assert duel.now() < 6
    assert duel.shares[-1] == 1.0


def test_it_ends_when_the_iterations_are_used_up() -> None:
    duel = Duel(ScriptedSession(noisy(1.0, 7)), ScriptedSession(noisy(1.0, 8)))
    duel.fought(precision_percent=0.01, max_iterations=500)
    assert all(session.iterations < 1500 for session in duel.sessions)


def test_few_long_iterations_are_compared_too() -> None:
    assert Duel(steady(900.0), steady(1000.0)).fought().pairs == 2 * LEAST_ROUNDS
