"""What every ledger of jobs must do about jobs that one device alone may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.jobs import JobState
from tests.behaviours.given import OnAFarm, fail, get_job, given_a_queued_job, given_a_second_device
from tests.behaviours.job_turns import next_for, wake_ups
from tests.factories import a_benchmark_request, a_device

if TYPE_CHECKING:
    from farm.services.ports import Database


class JobsForOneDeviceBehaviour(OnAFarm):
    """Tests of `transaction.jobs`.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    def test_a_job_that_is_for_one_device_alone_is_nobody_elses(self, database: Database) -> None:
        other = given_a_second_device(database)
        job = given_a_queued_job(database, request=a_benchmark_request(on_device=other.uuid))
        assert next_for(database) is None
        got = next_for(database, worker_id="w-2", device=other)
        assert got is not None
        assert got[0].id == job.id

    def test_a_job_for_one_device_goes_back_to_that_one(self, database: Database) -> None:
        given_a_second_device(database)
        given_a_queued_job(database, request=a_benchmark_request(on_device=a_device().uuid))
        got = next_for(database)
        assert got is not None
        fail(database, got[1], JobState.QUEUED, elsewhere=True)
        assert get_job(database, got[0]).avoid_device == ""
        assert next_for(database) is not None

    def test_nobody_is_woken_for_a_device_that_nobody_serves(self, database: Database) -> None:
        given_a_queued_job(database, request=a_benchmark_request(on_device="GPU-elsewhere"))
        assert wake_ups(database) == set()
        job = given_a_queued_job(database, request=a_benchmark_request(on_device=a_device().uuid))
        assert wake_ups(database) == {job.id}
