"""Deadlines of phases: each counts from when its phase begins, and waiting for others does not count."""

from __future__ import annotations

import math

from farm.domain.jobs import Phase
from workers.phase_deadlines import PhaseDeadlines


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_phase_that_takes_longer_than_it_may_is_ended_and_says_which_option_allows_more() -> None:
    clock = Clock()
    phases = PhaseDeadlines({Phase.BUILD: 3600}, clock)
    clock.now += 5000
    assert phases.look("build") is None, "it begins now, whatever went before"
    clock.now += 3600
    assert phases.look("build") is None
    clock.now += 1
    failure = phases.look("build")
    assert failure is not None
    assert (failure.is_timeout, failure.phase, failure.code) == (True, "build", "DeadlineExceededError")
    assert failure.message == "phase build was stopped after 1h, which is what it may take"
    assert "--deadline build=" in failure.hint


def test_a_phase_without_a_limit_may_take_as_long_as_the_attempt() -> None:
    clock = Clock()
    phases = PhaseDeadlines({Phase.BUILD: 1}, clock)
    phases.look("verify")
    clock.now += 1e6
    assert phases.look("verify") is None
    assert phases.look("") is None


def test_what_was_spent_on_waiting_for_somebody_else_does_not_count() -> None:
    clock = Clock()
    phases = PhaseDeadlines({Phase.PREPARE: 10}, clock)
    phases.look("prepare")
    clock.now += 100
    phases.forgive(95)
    assert phases.look("prepare") is None
    clock.now += 6
    assert phases.look("prepare") is not None


def test_what_a_phase_has_left_counts_from_its_own_beginning() -> None:
    clock = Clock()
    phases = PhaseDeadlines({Phase.BENCHMARK: 60}, clock)
    assert phases.remaining_s(Phase.BUILD) == math.inf
    assert phases.remaining_s(Phase.BENCHMARK) == 60
    phases.look("benchmark")
    clock.now += 50
    assert phases.remaining_s(Phase.BENCHMARK) == 10
    clock.now += 50
    assert phases.remaining_s(Phase.BENCHMARK) == 0
