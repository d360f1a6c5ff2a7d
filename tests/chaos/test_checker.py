"""The checker sees every promise that is not kept, and accuses nobody who kept them all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.chaos.checker import BROKEN, DOUBLED, LEFT, LOST, violations
from tests.chaos.evidence import Acknowledged, AttemptRow, Evidence, JobRow, read_notes, read_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_SHA = "a" * 64


def _attempt(job: str, number: int, state: str, begin_s: int, end_s: int | None) -> AttemptRow:
    end = None if end_s is None else _NOON + timedelta(seconds=end_s)
    return AttemptRow(job, number, state, _NOON + timedelta(seconds=begin_s), end)


@pytest.fixture
def good() -> Evidence:
    """Of a fleet in which one job was lost once and then succeeded, and another failed."""
    return Evidence(
        acknowledged=[Acknowledged("s-1", ("j-1", "j-2"))],
        submissions={"s-1": ("j-1", "j-2"), "s-nobody-heard-of": ("j-1",)},
        jobs=[JobRow("j-1", "build", "k-1", "SUCCEEDED", 2), JobRow("j-2", "build", "k-2", "FAILED", 1)],
        attempts=[
            _attempt("j-1", 1, "LOST", 0, 5),
            _attempt("j-1", 2, "SUCCEEDED", 5, 9),
            _attempt("j-2", 1, "FAILED", 0, 1),
        ],
        engines=["k-1"],
        artifacts={_SHA: 3},
        stored={_SHA: (_SHA, 3)},
    )


def test_a_fleet_that_kept_its_promises_is_not_accused(good: Evidence) -> None:
    assert violations(good) == []


def _forget_submission(evidence: Evidence) -> None:
    del evidence.submissions["s-1"]


def _forget_cell(evidence: Evidence) -> None:
    evidence.submissions["s-1"] = ("j-1",)


def _forget_job(evidence: Evidence) -> None:
    del evidence.jobs[1]
    del evidence.attempts[2]


def _leave_queued(evidence: Evidence) -> None:
    evidence.jobs[1] = replace(evidence.jobs[1], state="QUEUED")


def _leave_running(evidence: Evidence) -> None:
    evidence.attempts[2] = _attempt("j-2", 1, "RUNNING", 0, None)


def _two_winners(evidence: Evidence) -> None:
    evidence.attempts[0] = _attempt("j-1", 1, "SUCCEEDED", 0, 5)


def _no_winner(evidence: Evidence) -> None:
    evidence.attempts[1] = _attempt("j-1", 2, "FAILED", 5, 9)


def _winner_of_a_failed_job(evidence: Evidence) -> None:
    evidence.attempts[2] = _attempt("j-2", 1, "SUCCEEDED", 0, 1)


def _two_jobs_of_a_key(evidence: Evidence) -> None:
    evidence.jobs.append(JobRow("j-3", "build", "k-1", "SUCCEEDED", 1))
    evidence.attempts.append(_attempt("j-3", 1, "SUCCEEDED", 0, 1))


def _two_engines_of_a_key(evidence: Evidence) -> None:
    evidence.engines.append("k-1")


def _two_live_jobs_of_a_key(evidence: Evidence) -> None:
    evidence.jobs += [JobRow(f"j-{number}", "build", "k-3", "QUEUED", 1) for number in (3, 4)]


def _overlap(evidence: Evidence) -> None:
    evidence.attempts[1] = _attempt("j-1", 2, "SUCCEEDED", 4, 9)


def _too_many_tries(evidence: Evidence) -> None:
    evidence.jobs[0] = replace(evidence.jobs[0], max_attempts=1)


def _a_number_left_out(evidence: Evidence) -> None:
    evidence.attempts[1] = replace(evidence.attempts[1], number=3)


def _lose_bytes(evidence: Evidence) -> None:
    evidence.stored.clear()


def _cut_bytes(evidence: Evidence) -> None:
    evidence.stored[_SHA] = ("b" * 64, 2)


def _leave_child(evidence: Evidence) -> None:
    evidence.children.append(4711)


def _leave_scratch(evidence: Evidence) -> None:
    evidence.leftovers.append("j-1.1")


def _complain(evidence: Evidence) -> None:
    evidence.complaints.append("worker ended with 1")


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (_forget_submission, LOST),
        (_forget_cell, LOST),
        (_forget_job, LOST),
        (_leave_queued, LOST),
        (_leave_queued, LEFT),
        (_leave_running, LEFT),
        (_two_winners, DOUBLED),
        (_no_winner, BROKEN),
        (_winner_of_a_failed_job, DOUBLED),
        (_two_jobs_of_a_key, DOUBLED),
        (_two_engines_of_a_key, DOUBLED),
        (_two_live_jobs_of_a_key, DOUBLED),
        (_overlap, DOUBLED),
        (_too_many_tries, DOUBLED),
        (_a_number_left_out, BROKEN),
        (_lose_bytes, BROKEN),
        (_cut_bytes, BROKEN),
        (_leave_child, LEFT),
        (_leave_scratch, LEFT),
        (_complain, BROKEN),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__.strip("_").replace("_", " "),
)
def test_a_promise_that_was_not_kept_is_seen(
    good: Evidence, spoil: Callable[[Evidence], None], kind: str
) -> None:
    spoil(good)
    assert kind in {violation.kind for violation in violations(good)}


def test_an_attempt_that_was_given_back_does_not_count(good: Evidence) -> None:
    good.attempts[0] = replace(good.attempts[0], released=True)
    good.jobs[0] = replace(good.jobs[0], max_attempts=1)
    assert violations(good) == []


def test_a_key_may_be_built_again_where_an_engine_counts_for_nothing(good: Evidence) -> None:
    _two_jobs_of_a_key(good)
    assert violations(good, rebuilds=True) == []


def test_a_file_whose_bytes_are_not_its_names_is_shown_as_such(tmp_path: Path) -> None:
    path = tmp_path / "aa" / "aa" / _SHA
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half")
    unfinished = tmp_path / "incoming" / "deep" / "partial"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(b"ha")
    stored = read_store(tmp_path)
    assert list(stored) == [_SHA]
    assert stored[_SHA][0] != _SHA


def test_a_note_that_a_kill_cut_short_was_never_acknowledged(tmp_path: Path) -> None:
    notes = tmp_path / "client-1.notes"
    notes.write_text('{"submission": "s-1", "jobs": ["j-1"]}\n{"submission": "s-2", "jo')
    assert read_notes([notes]) == [Acknowledged("s-1", ("j-1",))]
