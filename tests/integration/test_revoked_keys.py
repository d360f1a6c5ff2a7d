"""A key that is revoked while workers hold it: they sign nothing more, lose no job, and say why they drain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.bootstrap import open_trusted_keys
from farm.domain.jobs import AttemptState, JobState
from farm.services.drains import resume_workers
from farm.services.trust import check_engine
from tests.fake_toolchain.harness import FarmOfTest, wait_until
from workers import consumer

if TYPE_CHECKING:
    import pytest

    from workers.agent import RunningWorker


def revoke_every_key(place: FarmOfTest) -> None:
    """What an operator does about a host that was taken over."""
    with place.farm.database.transaction() as transaction:
        for key in transaction.keys.all():
            transaction.keys.revoke(key.id)


def drains_because_of_its_key(worker: RunningWorker) -> bool:
    """Whether it has said so, to everybody."""
    return "is revoked" in worker.drain_reason


def test_a_worker_whose_key_is_revoked_while_it_builds_gives_the_job_back_and_drains(
    place: FarmOfTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that it does not hear of it before it signs.
    monkeypatch.setattr(consumer, "KEY_GAP_S", 3600.0)
    place.fake.does("wait", "build")
    with place.worker(name="ours") as worker:
        (job_id,) = place.submit(max_attempts=1)
        place.fake.pid()
        revoke_every_key(place)
        place.fake.go()
        wait_until(lambda: drains_because_of_its_key(worker))
        assert place.job(job_id).state is JobState.QUEUED
    (attempt,) = place.attempts(job_id)
    assert attempt.state is AttemptState.LOST
    assert attempt.failure is not None
    assert "is revoked" in attempt.failure.message
    assert place.engines() == []
    (place.farm.settings.home / "signing.key").unlink()
    with place.farm.database.transaction() as transaction:
        assert resume_workers(transaction, "ours", is_host=False) == ["ours"]
    with place.worker(name="ours"):
        place.succeeded(job_id)
    check_engine(place.engine(job_id), place.job(job_id).spec, open_trusted_keys(place.farm))


def test_an_idle_worker_whose_key_is_revoked_drains_before_it_takes_a_job(
    place: FarmOfTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "KEY_GAP_S", 0.1)
    with place.worker() as worker:
        revoke_every_key(place)
        wait_until(lambda: drains_because_of_its_key(worker))
        (job_id,) = place.submit()
        with place.farm.database.reading() as transaction:
            (known,) = transaction.fleet.workers()
        assert "is revoked" in known.drain_reason
    assert place.attempts(job_id) == []
