"""Jobs and attempts: where they may go, and what a failure leads to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.errors import IllegalTransitionError
from farm.domain.jobs import (
    ATTEMPT_TRANSITIONS,
    JOB_TRANSITIONS,
    POISON_AFTER_CRASHES,
    AttemptState,
    FailureClass,
    JobState,
    check_attempt_transition,
    check_job_transition,
    next_job_state,
    retry_delay_s,
)
from tests.factories import a_crash, a_failure

JOB_DIAGRAM = {
    ("QUEUED", "RUNNING"),
    ("QUEUED", "CANCELLED"),
    ("QUEUED", "FAILED"),
    ("RUNNING", "SUCCEEDED"),
    ("RUNNING", "FAILED"),
    ("RUNNING", "CANCELLED"),
    ("RUNNING", "QUEUED"),
}
ATTEMPT_DIAGRAM = {("RUNNING", end) for end in ("SUCCEEDED", "FAILED", "TIMED_OUT", "LOST", "CANCELLED")}


@pytest.mark.parametrize("current", JobState)
@pytest.mark.parametrize("wanted", JobState)
def test_a_job_goes_where_the_diagram_says_and_nowhere_else(current: JobState, wanted: JobState) -> None:
    if (current.value, wanted.value) in JOB_DIAGRAM:
        check_job_transition(current, wanted)
    else:
        with pytest.raises(IllegalTransitionError, match=f"{current.value} can not become {wanted.value}"):
            check_job_transition(current, wanted)


@pytest.mark.parametrize("current", AttemptState)
@pytest.mark.parametrize("wanted", AttemptState)
def test_an_attempt_goes_where_the_diagram_says_and_nowhere_else(
    current: AttemptState, wanted: AttemptState
) -> None:
    if (current.value, wanted.value) in ATTEMPT_DIAGRAM:
        check_attempt_transition(current, wanted)
    else:
        with pytest.raises(IllegalTransitionError, match=f"{current.value} can not become {wanted.value}"):
            check_attempt_transition(current, wanted)


def test_every_state_is_in_its_table() -> None:
    assert set(JOB_TRANSITIONS) == set(JobState)
    assert set(ATTEMPT_TRANSITIONS) == set(AttemptState)


def test_terminal_states_have_no_exits() -> None:
    assert {state for state in JobState if state.is_terminal} == {
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELLED,
    }
    assert {state for state, exits in ATTEMPT_TRANSITIONS.items() if exits} == {AttemptState.RUNNING}


@pytest.mark.parametrize("start", JobState)
def test_every_job_can_reach_an_end(start: JobState) -> None:
    reached, fresh = {start}, {start}
    while fresh:
        fresh = {after for state in fresh for after in JOB_TRANSITIONS[state]} - reached
        reached |= fresh
    assert any(state.is_terminal for state in reached)


# What a failure leads to.


@pytest.mark.parametrize("attempt", [1, 2, 3, 4])
@pytest.mark.parametrize("failure_class", FailureClass)
def test_only_a_transient_failure_is_tried_again_and_only_while_attempts_are_left(
    failure_class: FailureClass, attempt: int
) -> None:
    failure = a_failure(failure_class=failure_class)
    state, recorded = next_job_state(failure, attempt=attempt, max_attempts=3, crashes=0)
    is_retried = failure_class is FailureClass.TRANSIENT and attempt < 3
    assert state is (JobState.QUEUED if is_retried else JobState.FAILED)
    assert recorded == failure


def test_a_job_that_killed_one_process_is_tried_again() -> None:
    state, recorded = next_job_state(a_crash(), attempt=1, max_attempts=3, crashes=1)
    assert (state, recorded) == (JobState.QUEUED, a_crash())


@pytest.mark.parametrize("attempt", [2, 5])
def test_a_job_that_killed_two_processes_is_parked_with_its_evidence(attempt: int) -> None:
    state, recorded = next_job_state(a_crash(), attempt=attempt, max_attempts=9, crashes=POISON_AFTER_CRASHES)
    assert state is JobState.FAILED
    assert (recorded.failure_class, recorded.code) == (FailureClass.POISON, "PoisonJobError")
    assert a_crash().message in recorded.message
    assert recorded.phase == a_crash().phase
    assert recorded.is_crash
    assert recorded.hint


def test_earlier_crashes_do_not_park_a_job_that_fails_otherwise() -> None:
    state, recorded = next_job_state(a_failure(), attempt=2, max_attempts=3, crashes=5)
    assert (state, recorded) == (JobState.QUEUED, a_failure())


def test_a_job_with_one_attempt_is_never_tried_again() -> None:
    assert next_job_state(a_failure(), attempt=1, max_attempts=1, crashes=0)[0] is JobState.FAILED


@given(st.sampled_from(FailureClass), st.booleans(), st.integers(1, 9), st.integers(1, 9), st.integers(0, 9))
def test_a_failure_never_leaves_a_job_where_a_running_one_can_not_go(
    failure_class: FailureClass, is_crash: bool, attempt: int, max_attempts: int, crashes: int
) -> None:
    failure = a_failure(failure_class=failure_class, is_crash=is_crash)
    state, _ = next_job_state(failure, attempt=attempt, max_attempts=max_attempts, crashes=crashes)
    check_job_transition(JobState.RUNNING, state)


def test_the_delay_before_a_retry_grows_up_to_five_minutes() -> None:
    assert [retry_delay_s(attempt) for attempt in (1, 2, 3, 4, 5, 50)] == [
        2.0,
        8.0,
        32.0,
        128.0,
        300.0,
        300.0,
    ]
