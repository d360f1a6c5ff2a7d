"""What dead workers left on a host is swept; what somebody works in stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from farm.bootstrap import Farm
from farm.domain.jobs import JobState
from farm.settings import read_settings
from tests.behaviours.given import fail, given_a_running_job
from tests.fakes import InMemoryArtifactStore, InMemoryDatabase
from tests.fakes.tables import JobRow
from workers.leftovers import sweep_scratch

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def farm(tmp_path: Path, database: InMemoryDatabase) -> Farm:
    """A farm with an empty scratch folder."""
    settings = read_settings(tmp_path, {})
    settings.scratch.mkdir()
    return Farm(settings, database, InMemoryArtifactStore())


def leave(farm: Farm, name: str) -> Path:
    """The folder of an attempt, with something in it."""
    folder = farm.settings.scratch / name
    folder.mkdir()
    (folder / "engine").write_bytes(b"plan")
    return folder


def test_the_folder_of_a_running_attempt_stays_whatever_else_runs_in_the_fleet(
    farm: Farm, database: InMemoryDatabase
) -> None:
    job, attempt = given_a_running_job(database)
    kept = leave(farm, f"{job.id}.{attempt.number}")
    with database.transaction() as transaction:
        for number in range(1, 1002):
            newer = replace(job, id=f"j-{number}", created_at=job.created_at + timedelta(seconds=number))
            transaction.jobs._tables.jobs[newer.id] = JobRow(newer, 0)
    sweep_scratch(farm)
    assert kept.exists()


def test_folders_of_attempts_that_ended_or_that_nobody_knows_go(
    farm: Farm, database: InMemoryDatabase
) -> None:
    job, attempt = given_a_running_job(database)
    fail(database, attempt, JobState.FAILED)
    ended, unknown = leave(farm, f"{job.id}.{attempt.number}"), leave(farm, "j-unknown.1")
    other = leave(farm, "references")
    sweep_scratch(farm)
    assert not ended.exists()
    assert not unknown.exists()
    assert other.exists()
