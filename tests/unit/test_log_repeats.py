"""While something is away its line is logged once, and then once a minute with how often."""

from __future__ import annotations

import logging

import pytest

from farm.log_repeats import BACK, REPEATS, RepeatFilter
from farm.logs import fields


class Log:
    """What passes the filter, at a time of the test's own."""

    def __init__(self) -> None:
        self.now = 0.0
        self._filter = RepeatFilter(lambda: self.now)

    def says(self, message: str, *args: object, name: str = "workers.lease", **extra: object) -> str | None:
        """A warning as it is logged; none if it is not."""
        record = logging.getLogger(name).makeRecord(
            name, logging.WARNING, "", 0, message, args, None, None, extra
        )
        return record.getMessage() if self._filter.filter(record) else None


@pytest.fixture
def log() -> Log:
    return Log()


def test_what_is_said_again_within_a_minute_is_not_logged_and_counted(log: Log) -> None:
    said = "the heartbeat failed: %s"
    assert log.says(said, "no route", **REPEATS) == "the heartbeat failed: no route"
    for _ in range(7):
        log.now += 5
        assert log.says(said, "no route", **REPEATS) is None
    log.now += 30
    assert (
        log.says(said, "no route", **REPEATS) == "the heartbeat failed: no route (for 1m5s now, 7 times more)"
    )
    assert log.says(said, "no route", **REPEATS) is None


def test_another_reason_is_logged_at_once(log: Log) -> None:
    log.says("the heartbeat failed: %s", "no route", **REPEATS)
    assert log.says("the heartbeat failed: %s", "password", **REPEATS) is not None


def test_a_line_that_nobody_marked_is_logged_each_time(log: Log) -> None:
    assert log.says("a timing cache was dropped")
    assert log.says("a timing cache was dropped")


def test_celery_and_kombu_tell_of_a_broker_that_is_away_once_a_minute_too(log: Log) -> None:
    first = "Cannot connect to redis://: refused. Trying again in %.2f seconds... (%d/100)"
    assert log.says(first, 2.0, 1, name="celery.worker.consumer.consumer")
    assert log.says(first, 4.0, 2, name="celery.worker.consumer.consumer") is None


def test_what_goes_away_again_after_it_was_back_is_told_of_at_once(log: Log) -> None:
    said = "the heartbeat failed: %s"
    log.says(said, "no route", **REPEATS)
    log.now += 5
    assert log.says("the database answers again", **fields(BACK))
    assert log.says(said, "no route", **REPEATS) == "the heartbeat failed: no route"


def test_what_was_quiet_for_a_minute_is_told_of_as_new(log: Log) -> None:
    said = "the heartbeat failed: %s"
    log.says(said, "no route", **REPEATS)
    log.now += 61
    assert log.says(said, "no route", **REPEATS) == "the heartbeat failed: no route"
