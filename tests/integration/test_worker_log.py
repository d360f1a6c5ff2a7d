"""What a worker logs of a job: its course, as lines for people and as fields for programs."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from farm.logs import JsonFormatter
from tests.fake_toolchain.harness import FarmOfTest, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Lines(logging.Handler):
    """The documents that are logged, formatted in the thread that logs them."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(JsonFormatter())
        self.documents: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a line."""
        self.documents.append(json.loads(self.format(record)))

    def of(self, job_id: str) -> list[dict[str, Any]]:
        """The events of a job."""
        return [line for line in self.documents if line.get("job") == job_id and "event" in line]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What the farm logs at its usual level."""
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler
    root.setLevel(level)
    root.removeHandler(handler)


def test_the_course_of_a_job_is_a_line_for_each_step(place: FarmOfTest, lines: Lines) -> None:
    with place.worker() as worker:
        (job_id,) = place.submit()
        place.succeeded(job_id)
    found = lines.of(job_id)
    steps = [line.get("phase", line["event"]) for line in found]
    assert steps == ["claimed", "prepare", "build", "verify", "benchmark", "upload", "filed"]
    assert all((line["worker"], line["attempt"]) == (worker.id, 1) for line in found)
    claimed, filed = found[0], found[-1]
    assert (claimed["user"], claimed["precision"], claimed["toolchain"]) == ("me", "fp32", "fake 1.0.0")
    assert claimed["waited_s"] >= 0
    assert filed["engine"] == place.engine(job_id).id
    assert set(filed["seconds"]) >= {"build", "upload"}


def test_a_job_that_is_given_back_and_one_that_fails_say_so(place: FarmOfTest, lines: Lines) -> None:
    place.fake.does("wait", "refuse")
    with place.worker():
        (job_id,) = place.submit(max_attempts=1)
        place.fake.pid()
    assert lines.of(job_id)[-1]["event"] == "released"
    with place.worker():
        place.ended(job_id)
        wait_until(lambda: lines.of(job_id)[-1]["event"] == "failed")
    failed = lines.of(job_id)[-1]
    assert (failed["state"], failed["phase"], failed["attempt"]) == ("FAILED", "build", 2)
    assert failed["code"]


def test_a_cancelled_job_says_so(place: FarmOfTest, lines: Lines) -> None:
    place.fake.does("wait")
    with place.worker():
        (job_id,) = place.submit()
        place.fake.pid()
        with place.farm.database.transaction() as transaction:
            transaction.jobs.request_cancel(job_id)
        place.ended(job_id)
        wait_until(lambda: lines.of(job_id)[-1]["event"] == "cancelled")
