"""Patience: what is away is waited for with a line that says so; what is wrong is said at once."""

from __future__ import annotations

import pytest

from farm.domain.errors import ConflictError, DatabaseUnavailableError, FarmError
from workers.patience import FIRST_GAP_S, LAST_GAP_S, patiently


class Database:
    """Answers as it was told, then is there."""

    def __init__(self, *errors: FarmError) -> None:
        self.errors = list(errors)

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "open"


def test_what_is_there_is_taken_without_a_word() -> None:
    said: list[str] = []
    assert patiently(Database(), tell=said.append, wait=lambda _: False) == "open"
    assert said == []


def test_what_is_away_is_waited_for_ever_longer_and_every_reason_is_told_once() -> None:
    said: list[str] = []
    gaps: list[float] = []

    def wait(seconds: float) -> bool:
        gaps.append(seconds)
        return False

    refused, starting = DatabaseUnavailableError("refused"), DatabaseUnavailableError("starting up")
    assert patiently(Database(*[refused] * 5, starting), tell=said.append, wait=wait) == "open"
    assert said == ["waiting, for refused", "waiting, for starting up", "the wait is over"]
    assert gaps[0] == FIRST_GAP_S
    assert gaps == sorted(gaps)
    assert gaps[-1] == LAST_GAP_S


def test_whoever_is_told_to_stop_waits_no_longer() -> None:
    with pytest.raises(DatabaseUnavailableError):
        patiently(Database(*[DatabaseUnavailableError("refused")] * 9), tell=print, wait=lambda _: True)


def test_what_no_wait_mends_is_an_error_at_once() -> None:
    with pytest.raises(ConflictError):
        patiently(Database(ConflictError("another schema")), tell=print, wait=lambda _: False)
