"""What every ledger of jobs must do about turns: whom it wakes, who is next, who has waited for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.jobs import JobState
from farm.domain.targets import DeviceKind
from tests.behaviours.given import (
    HOUR_S,
    OnAFarm,
    attempts_of,
    claim,
    fail,
    get_job,
    given_a_cpu_worker,
    given_a_queued_job,
    given_a_running_job,
    given_a_second_device,
    later,
)
from tests.factories import (
    a_build_spec,
    a_cpu_toolchain,
    a_device,
    a_device_type,
    a_failure,
    a_job_request,
    a_target,
)

if TYPE_CHECKING:
    from farm.domain.targets import Device
    from farm.domain.work import Attempt, Job
    from farm.services.ports import Database


class JobTurnsBehaviour(OnAFarm):
    """Tests of `transaction.jobs`.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    # Whom to wake.

    def test_an_idle_worker_is_woken_for_one_job_however_many_are_due(self, database: Database) -> None:
        ids = {given_a_queued_job(database, a_build_spec(salt=salt)).id for salt in "abc"}
        (woken_for,) = wake_ups(database)
        assert woken_for in ids

    def test_as_many_are_woken_as_can_take_something(self, database: Database) -> None:
        given_a_second_device(database)
        first = given_a_queued_job(database, a_build_spec(salt="first"))
        assert wake_ups(database) == {first.id}
        second = given_a_queued_job(database, a_build_spec(salt="second"))
        assert wake_ups(database) == {first.id, second.id}

    def test_a_busy_worker_is_not_woken(self, database: Database) -> None:
        given_a_running_job(database, a_build_spec(salt="running"))
        given_a_queued_job(database)
        assert wake_ups(database) == set()

    def test_a_worker_that_left_or_drains_is_not_woken(self, database: Database) -> None:
        job = given_a_queued_job(database)
        with database.transaction() as transaction:
            name = transaction.fleet.workers()[0].name
            transaction.fleet.drain(name, "maintenance", "ada")
        assert wake_ups(database) == set()
        with database.transaction() as transaction:
            assert transaction.fleet.resume(name)
        assert wake_ups(database) == {job.id}
        with database.transaction() as transaction:
            transaction.fleet.stop("w-1")
        assert wake_ups(database) == set()

    def test_nobody_is_woken_for_a_retry_before_it_is_due(self, database: Database) -> None:
        soon, attempt = given_a_running_job(database, a_build_spec(salt="soon"))
        fail(database, attempt, JobState.QUEUED)
        _, attempt = given_a_running_job(database, a_build_spec(salt="late"))
        fail(database, attempt, JobState.QUEUED, retry_in_s=HOUR_S)
        assert wake_ups(database) == {soon.id}

    def test_only_the_targets_that_are_asked_for_are_woken(self, database: Database) -> None:
        given_a_cpu_worker(database)
        gpu = given_a_queued_job(database)
        cpu_target = a_target(device_type=a_device_type(DeviceKind.CPU), toolchain=a_cpu_toolchain().id)
        cpu = given_a_queued_job(database, a_build_spec(target=cpu_target))
        with database.reading() as transaction:
            (found,) = transaction.jobs.wake_ups([cpu_target])
            assert (found.target, found.job_id) == (cpu_target, cpu.id)
            assert transaction.jobs.wake_ups([]) == []
        assert wake_ups(database) == {gpu.id, cpu.id}

    # Who is next.

    def test_a_worker_takes_the_oldest_of_its_targets(self, database: Database) -> None:
        given_a_cpu_worker(database)
        cpu_target = a_target(device_type=a_device_type(DeviceKind.CPU), toolchain=a_cpu_toolchain().id)
        given_a_queued_job(database, a_build_spec(target=cpu_target))
        ids = [given_a_queued_job(database, a_build_spec(salt=salt)).id for salt in "abc"]
        assert [taken(database).id for _ in ids] == ids
        assert next_for(database) is None, "the one that is left is for the CPU"

    def test_what_is_taken_is_claimed(self, database: Database) -> None:
        job = given_a_queued_job(database)
        got = next_for(database)
        assert got is not None
        assert got[0] == get_job(database, job)
        assert got[0].state is JobState.RUNNING
        assert [got[1]] == attempts_of(database, job)
        assert next_for(database) is None

    def test_jobs_of_one_moment_are_taken_in_the_order_of_their_positions(self, database: Database) -> None:
        with database.transaction() as transaction:
            ids = {
                position: transaction.jobs.add(a_build_spec(salt=str(position)), a_job_request(), position).id
                for position in (2, 0, 1)
            }
        assert [taken(database).id for _ in ids] == [ids[0], ids[1], ids[2]]

    def test_a_higher_priority_goes_first(self, database: Database) -> None:
        low = given_a_queued_job(database, a_build_spec(salt="low"), a_job_request(priority=-5))
        normal = given_a_queued_job(database, a_build_spec(salt="normal"))
        high = given_a_queued_job(database, a_build_spec(salt="high"), a_job_request(priority=5))
        assert [taken(database).id for _ in range(3)] == [high.id, normal.id, low.id]

    def test_what_is_not_due_holds_up_nothing(self, database: Database) -> None:
        _, attempt = given_a_running_job(database, a_build_spec(salt="late"), a_job_request(priority=5))
        fail(database, attempt, JobState.QUEUED, retry_in_s=HOUR_S)
        job = given_a_queued_job(database)
        assert taken(database).id == job.id

    def test_the_one_job_of_a_user_is_not_held_up_by_the_many_of_another(self, database: Database) -> None:
        many = [queued_by(database, "ada", f"ada-{number}") for number in range(4)]
        one = queued_by(database, "bob", "bob")
        assert taken(database).id == many[0].id, "both have had nothing, so the older one goes first"
        assert taken(database).id == one.id, "what runs for ada counts already"
        assert taken(database).id == many[1].id

    def test_who_has_had_less_of_late_goes_first(self, database: Database) -> None:
        done = queued_by(database, "ada", "done")
        _, attempt = claim(database, done)
        later()
        fail(database, attempt, JobState.FAILED)
        with database.transaction() as transaction:
            assert transaction.jobs.charge_shares() == 1
            assert transaction.jobs.charge_shares() == 0, "once"
        older, newer = queued_by(database, "ada", "older"), queued_by(database, "bob", "newer")
        with database.reading() as transaction:
            shares = transaction.jobs.shares({"ada", "bob"})
            assert 0 < shares["ada"].device_s < 60
            assert shares["bob"].weight == 0
            lanes = transaction.jobs.lanes("w-1", a_device())
            assert [lane.user for lane in lanes] == ["bob", "ada"]
        assert [taken(database).id, taken(database).id] == [newer.id, older.id]

    def test_priority_goes_before_fairness(self, database: Database) -> None:
        queued_by(database, "ada", "one")
        taken(database)
        queued_by(database, "bob", "bob")
        urgent = given_a_queued_job(database, a_build_spec(salt="urgent"), a_job_request(priority=1))
        assert taken(database).id == urgent.id

    # Another device.

    def test_a_job_goes_to_another_device_than_the_one_that_failed_it(self, database: Database) -> None:
        other = given_a_second_device(database)
        job, attempt = given_a_running_job(database)
        fail(database, attempt, JobState.QUEUED, elsewhere=True)
        assert get_job(database, job).avoid_device == a_device().uuid
        assert next_for(database) is None
        with database.transaction() as transaction:
            assert transaction.jobs.forgive_devices() == 0, "the other one has a while"
        got = next_for(database, worker_id="w-2", device=other)
        assert got is not None
        assert got[0].avoid_device == ""

    def test_where_there_is_no_other_device_the_same_one_tries_again(self, database: Database) -> None:
        _, attempt = given_a_running_job(database)
        fail(database, attempt, JobState.QUEUED, elsewhere=True)
        assert next_for(database) is not None

    # Waiting too long.

    def test_a_job_that_waited_for_longer_than_it_may_has_failed(self, database: Database) -> None:
        patient = given_a_queued_job(database, a_build_spec(salt="a"), a_job_request(queue_timeout_s=HOUR_S))
        hasty = given_a_queued_job(database, a_build_spec(salt="b"), a_job_request(queue_timeout_s=0.001))
        given_a_queued_job(database, a_build_spec(salt="c"))
        later()
        with database.transaction() as transaction:
            (found,) = transaction.jobs.overdue()
            assert found.id == hasty.id
            assert transaction.jobs.give_up(found, a_failure())
            assert not transaction.jobs.give_up(found, a_failure()), "it has ended"
            assert not transaction.jobs.give_up(patient, a_failure()), "it has time"
        ended = get_job(database, hasty)
        assert (ended.state, ended.attempts) == (JobState.FAILED, 0)
        assert ended.finished_at is not None
        assert ended.failure is not None
        with database.reading() as transaction:
            assert transaction.jobs.overdue() == []

    def test_the_time_of_an_attempt_does_not_count_as_waiting(self, database: Database) -> None:
        request = a_job_request(queue_timeout_s=HOUR_S)
        job = given_a_queued_job(database, request=request)
        _, attempt = claim(database, job)
        later()
        fail(database, attempt, JobState.QUEUED, retry_in_s=100.0)
        waits = get_job(database, job)
        assert waits.not_before is not None
        assert waits.queue_deadline_at is not None
        assert (waits.queue_deadline_at - waits.not_before).total_seconds() == HOUR_S

    # At a glance.

    def test_the_load_of_a_target_says_what_waits_and_who_is_there(self, database: Database) -> None:
        running, attempt = given_a_running_job(database, a_build_spec(salt="running"))
        waiting = given_a_queued_job(database)
        with database.reading() as transaction:
            (load,) = transaction.jobs.loads()
            assert transaction.jobs.running() == {"w-1": attempt}
        assert (load.target, load.slug) == (running.target, "nvidia-h200")
        assert (load.waiting, load.running, load.oldest_since) == (1, 1, waiting.not_before)
        assert (load.live_workers, load.busy_workers, load.idle_workers) == (1, 1, 0)
        assert not load.is_stranded

    def test_a_target_with_jobs_and_no_worker_is_stranded(self, database: Database) -> None:
        given_a_queued_job(database)
        with database.transaction() as transaction:
            transaction.fleet.drain(transaction.fleet.workers()[0].name, "maintenance", "ada")
            (load,) = transaction.jobs.loads()
            assert (load.draining_workers, load.is_stranded) == (1, True)
            transaction.fleet.stop("w-1")
            (load,) = transaction.jobs.loads()
            assert (load.live_workers, load.is_stranded) == (0, True)

    def test_a_target_with_a_worker_and_no_jobs_is_idle(self, database: Database) -> None:
        with database.reading() as transaction:
            (load,) = transaction.jobs.loads()
        assert (load.waiting, load.running, load.oldest_since, load.idle_workers) == (0, 0, None, 1)

    # What fails again and again.

    def test_failures_of_one_cause_are_one_group(self, database: Database) -> None:
        with database.reading() as transaction:
            assert transaction.jobs.failures() == []
        for salt, what in (("a", "needs 512 MiB"), ("b", "needs 9 MiB"), ("c", "is gone")):
            _, attempt = given_a_running_job(database, a_build_spec(salt=salt))
            fail(database, attempt, JobState.FAILED, failure=a_failure(message=f"the device {what}"))
        with database.reading() as transaction:
            gone, short = transaction.jobs.failures()
            assert transaction.jobs.failures(limit=1) == [gone]
            assert transaction.jobs.failures(since=transaction.now()) == []
        assert (gone.attempts, gone.first_message) == (1, "the device is gone")
        assert (short.attempts, short.jobs, short.code, short.phase) == (2, 2, "OutOfMemoryError", "build")
        assert (short.first_message, short.last_message) == (
            "the device needs 512 MiB",
            "the device needs 9 MiB",
        )
        assert (short.targets, short.hosts) == ((str(a_target()),), (a_device().host,))
        assert short.first_at < short.last_at < gone.last_at

    # Why one waits.

    def test_the_rivals_of_a_job_are_those_that_wait_for_its_target(self, database: Database) -> None:
        older = queued_by(database, "ada", "older")
        job = queued_by(database, "ada", "this")
        queued_by(database, "ada", "younger")
        queued_by(database, "bob", "other")
        with database.transaction() as transaction:
            transaction.jobs.add(a_build_spec(salt="high"), a_job_request(priority=5), user="eve")
            rivals = transaction.jobs.rivals(job)
        assert (rivals.higher_priority, rivals.older_of_user, rivals.users) == (1, 1, {"bob": 1})
        with database.reading() as transaction:
            assert transaction.jobs.rivals(older).older_of_user == 0

    # Duties.

    def test_a_duty_is_one_processs_at_a_time(self, database: Database) -> None:
        with database.transaction() as transaction:
            assert transaction.fleet.hold_duty("sweeper", "w-1", HOUR_S)
            assert not transaction.fleet.hold_duty("sweeper", "w-2", HOUR_S)
            assert transaction.fleet.hold_duty("other", "w-2", HOUR_S)
            assert transaction.fleet.hold_duty("sweeper", "w-1", -1.0), "renewed"
        later()
        with database.transaction() as transaction:
            assert transaction.fleet.hold_duty("sweeper", "w-2", HOUR_S), "it had run out"
            transaction.fleet.leave_duties("w-2")
            assert transaction.fleet.hold_duty("sweeper", "w-1", HOUR_S)

    # Draining.

    def test_a_drained_worker_hears_why_until_it_is_resumed(self, database: Database) -> None:
        with database.transaction() as transaction:
            name = transaction.fleet.workers()[0].name
            assert name
            assert transaction.fleet.beat("w-1") == ""
            transaction.fleet.drain(name, "new driver", "ada")
            transaction.fleet.drain(name, "again", "bob")
            assert transaction.fleet.beat("w-1") == "new driver", "the first reason stands"
            assert transaction.fleet.workers()[0].drain_reason == "new driver"
            assert transaction.fleet.resume(name)
            assert not transaction.fleet.resume(name)
            assert transaction.fleet.beat("w-1") == ""


def wake_ups(database: Database) -> set[str]:
    """The jobs that workers are woken for."""
    with database.reading() as transaction:
        return {wake_up.job_id for wake_up in transaction.jobs.wake_ups()}


def next_for(
    database: Database, *, worker_id: str = "w-1", device: Device | None = None
) -> tuple[Job, Attempt] | None:
    """What a worker gets."""
    with database.transaction() as transaction:
        return transaction.jobs.claim_next(worker_id=worker_id, device=device or a_device(), lease_s=HOUR_S)


def taken(database: Database) -> Job:
    """The job that the first worker gets; there is one."""
    got = next_for(database)
    assert got is not None, "nothing was there to be taken"
    return got[0]


def queued_by(database: Database, user: str, salt: str) -> Job:
    """A job that a user pays for."""
    later()
    with database.transaction() as transaction:
        return transaction.jobs.add(a_build_spec(salt=salt), a_job_request(), user=user)
