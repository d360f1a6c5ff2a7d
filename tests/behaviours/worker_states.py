"""What every catalogue of the fleet must know of a worker that leaves, that died, or that is drained and away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.behaviours.given import OnAFarm, given_a_queued_job

if TYPE_CHECKING:
    from farm.domain.fleet import Worker
    from farm.services.ports import Database


class WorkerStatesBehaviour(OnAFarm):
    """Tests of `transaction.fleet`.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    def test_a_worker_that_leaves_lives_and_is_counted_on_by_nobody(self, database: Database) -> None:
        given_a_queued_job(database)
        with database.transaction() as transaction:
            transaction.fleet.leave("w-1")
            transaction.fleet.beat("w-1")
        with database.reading() as transaction:
            (load,) = transaction.jobs.loads()
            assert transaction.jobs.wake_ups(None) == []
        assert only(database).is_live
        assert only(database).drain_reason == "it was told to stop"
        assert load.is_stranded

    def test_who_left_leaves_no_drain_to_whoever_is_started_after_it(self, database: Database) -> None:
        with database.transaction() as transaction:
            transaction.fleet.leave("w-1")
            assert transaction.fleet.beat("w-1") == ""
            assert transaction.fleet.drains() == []

    def test_a_worker_that_is_known_to_be_dead_is_live_no_more(self, database: Database) -> None:
        given_a_queued_job(database)
        worker = only(database)
        with database.transaction() as transaction:
            assert transaction.fleet.die(["w-1", "w-of-another-farm"], worker.host) == 1
            assert transaction.fleet.die(["w-1"], worker.host) == 0
        with database.reading() as transaction:
            assert transaction.jobs.wake_ups(None) == []
            assert transaction.jobs.loads()[0].live_workers == 0
        assert not only(database).is_live
        assert only(database).stopped_at is None, "it has not left: somebody misses it"

    def test_only_those_of_the_host_that_knows_are_taken_for_dead(self, database: Database) -> None:
        with database.transaction() as transaction:
            assert transaction.fleet.die(["w-1"], "elsewhere") == 0
        assert only(database).is_live

    def test_one_that_was_taken_for_dead_and_speaks_is_live(self, database: Database) -> None:
        with database.transaction() as transaction:
            transaction.fleet.die(["w-1"], only(database).host)
        with database.transaction() as transaction:
            transaction.fleet.beat("w-1")
        assert only(database).is_live

    def test_a_drain_is_known_though_nobody_of_its_name_runs(self, database: Database) -> None:
        with database.transaction() as transaction:
            transaction.fleet.drain("gpu99-0", "new driver", "ada")
        with database.reading() as transaction:
            (drain,) = transaction.fleet.drains()
            assert drain.since <= transaction.now()
        assert (drain.name, drain.reason, drain.requested_by) == ("gpu99-0", "new driver", "ada")


def only(database: Database) -> Worker:
    """The one worker."""
    with database.reading() as transaction:
        (worker,) = transaction.fleet.workers()
    return worker
