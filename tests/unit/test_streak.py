"""The streak: three different jobs that fail in a row for no fault of their own, and a worker drains itself."""

from __future__ import annotations

import pytest

from farm.domain.jobs import FailureClass
from tests.factories import a_failure
from workers.streak import FailureStreak


def test_three_different_jobs_in_a_row_say_why() -> None:
    streak = FailureStreak()
    assert streak.note("j-1", a_failure(), succeeded=False) == ""
    assert streak.note("j-2", a_failure(), succeeded=False) == ""
    why = streak.note("j-3", a_failure(message="the bus fell off"), succeeded=False)
    assert "j-1, j-2, j-3" in why
    assert "the bus fell off" in why
    assert streak.note("j-4", a_failure(), succeeded=False) == "", "it begins anew"


def test_one_job_that_fails_again_and_again_is_one() -> None:
    streak = FailureStreak()
    assert {streak.note("j-1", a_failure(), succeeded=False) for _ in range(5)} == {""}


def test_a_success_in_between_ends_it() -> None:
    streak = FailureStreak()
    streak.note("j-1", a_failure(), succeeded=False)
    streak.note("j-2", a_failure(), succeeded=False)
    streak.note("j-3", None, succeeded=True)
    assert streak.note("j-4", a_failure(), succeeded=False) == ""


@pytest.mark.parametrize("failure_class", [FailureClass.REQUEST, FailureClass.REFUSED])
def test_what_is_the_jobs_own_fault_does_not_count(failure_class: FailureClass) -> None:
    streak = FailureStreak()
    own = a_failure(failure_class=failure_class)
    assert {streak.note(f"j-{number}", own, succeeded=False) for number in range(5)} == {""}


def test_what_was_given_back_or_cancelled_does_not_count() -> None:
    streak = FailureStreak()
    streak.note("j-1", a_failure(), succeeded=False)
    streak.note("j-2", a_failure(), succeeded=False)
    assert streak.note("j-3", None, succeeded=False) == ""
    assert streak.note("j-4", a_failure(), succeeded=False) != "", "nor does it end the streak"
