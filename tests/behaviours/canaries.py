"""What every keeper of canaries must do, and what a canary does to its device and to what that has measured."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farm.domain.canaries import Verdict
from farm.domain.errors import ConflictError
from farm.domain.targets import DeviceKind
from farm.services.canaries import FiledCanary, accept_drift, file_canary, verdict_of
from tests.behaviours.given import (
    OnAFarm,
    given_a_cpu_worker,
    given_a_finished_job,
    given_a_second_device,
    later,
)
from tests.factories import (
    a_build_spec,
    a_canary,
    a_device,
    a_device_type,
    a_digest,
    a_toolchain_id,
    an_outcome,
)

if TYPE_CHECKING:
    from farm.domain.canaries import Canary
    from farm.domain.filing import Run
    from farm.services.ports import Database

HERE = a_device().uuid


class CanariesBehaviour(OnAFarm):
    """Tests of `transaction.canaries`.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    def test_there_is_none_at_first(self, database: Database) -> None:
        with database.reading() as transaction:
            assert transaction.canaries.of_device(HERE) == []
            assert transaction.canaries.newest(HERE, a_device_type(), a_toolchain_id()) is None
            assert transaction.canaries.suspects() == {}

    def test_what_is_filed_reads_back_with_its_time(self, database: Database) -> None:
        canary = a_canary(interval_ms=(0.9, 1.1), conditions={"clock": 1980}, reason="new")
        filed = add(database, canary)
        assert filed.measured_at is not None
        assert replace(filed, id=0, measured_at=None) == canary
        with database.reading() as transaction:
            assert transaction.canaries.of_device(HERE) == [filed]

    def test_the_newest_of_a_device_are_told_oldest_first(self, database: Database) -> None:
        filed = [add(database, a_canary(median_ms=float(number))) for number in range(1, 5)]
        with database.reading() as transaction:
            assert transaction.canaries.of_device(HERE, limit=3) == filed[1:]
            assert transaction.canaries.of_device("GPU-elsewhere") == []

    def test_a_device_goes_on_with_its_own_engine_and_begins_with_one_of_its_type(
        self, database: Database
    ) -> None:
        other = given_a_second_device(database)
        first = add(database, a_canary())
        assert newest(database, other.uuid) == first
        own = add(database, a_canary(device_uuid=other.uuid, engine=a_digest("own")))
        add(database, a_canary())
        assert newest(database, other.uuid) == own

    def test_another_type_of_device_has_another_engine(self, database: Database) -> None:
        given_a_cpu_worker(database)
        add(database, a_canary())
        with database.reading() as transaction:
            cpu = a_device_type(DeviceKind.CPU)
            assert transaction.canaries.newest("CPU-0", cpu, a_toolchain_id()) is None

    def test_what_a_canary_times_is_no_garbage(self, database: Database) -> None:
        filed = add(database, a_canary())
        with database.reading() as transaction:
            assert transaction.engines.artifact(filed.engine.sha256) == filed.engine

    # Marks.

    def test_a_device_is_marked_once_until_it_is_trusted(self, database: Database) -> None:
        with database.transaction() as transaction:
            transaction.canaries.suspect(HERE, "slow")
        later()
        with database.transaction() as transaction:
            transaction.canaries.suspect(HERE, "slower still")
            assert transaction.canaries.suspects()[HERE].reason == "slow"
            assert transaction.canaries.trust(HERE)
            assert not transaction.canaries.trust(HERE)
            assert transaction.canaries.suspects() == {}

    # From the first one on.

    def test_a_device_learns_what_is_usual_first(self, database: Database) -> None:
        verdicts = [filed(database, ms).canary.verdict for ms in (1.0, 1.01, 0.99, 1.0)]
        assert verdicts == [Verdict.LEARNING, Verdict.LEARNING, Verdict.LEARNING, Verdict.GOOD]

    def test_a_device_that_drifts_is_marked_with_what_it_measured_since_its_last_good_canary(
        self, database: Database
    ) -> None:
        before = measured(database, "before")
        later()
        for _ in range(4):
            filed(database, 1.0)
        later()
        since = measured(database, "since")
        found = filed(database, 1.2)
        assert found.canary.verdict is Verdict.DRIFTED
        assert found.flagged_runs == 1
        with database.reading() as transaction:
            assert transaction.canaries.suspects()[HERE].reason == found.canary.reason
        assert run_of(database, before).is_clean
        assert run_of(database, since).suspect == found.canary.reason
        assert not run_of(database, since).is_clean
        afterwards = measured(database, "afterwards")
        assert run_of(database, afterwards).suspect == found.canary.reason, "filed by a device in doubt"

    def test_the_runs_of_other_devices_stay_as_they_are(self, database: Database) -> None:
        other = given_a_second_device(database)
        for _ in range(3):
            filed(database, 1.0, device_uuid=other.uuid)
        engine = measured(database, "elsewhere")
        assert filed(database, 2.0, device_uuid=other.uuid).flagged_runs == 0
        assert run_of(database, engine).is_clean

    def test_a_good_canary_clears_the_mark_and_no_run(self, database: Database) -> None:
        for _ in range(3):
            filed(database, 1.0)
        engine = measured(database, "doubted")
        filed(database, 2.0)
        assert filed(database, 1.0).is_trusted_again
        with database.reading() as transaction:
            assert transaction.canaries.suspects() == {}
        assert run_of(database, engine).suspect
        later()
        assert run_of(database, measured(database, "trusted")).is_clean

    def test_one_that_was_disturbed_says_nothing(self, database: Database) -> None:
        for _ in range(3):
            filed(database, 1.0)
        with database.transaction() as transaction:
            found = transaction.canaries.of_device(HERE)
        disturbed = file_canary(database, a_canary(median_ms=2.0), ["another process was on the GPU"])
        assert disturbed.canary.verdict is Verdict.DISTURBED
        with database.reading() as transaction:
            assert transaction.canaries.suspects() == {}
            assert len(transaction.canaries.of_device(HERE)) == len(found) + 1

    def test_what_it_would_say_can_be_asked_without_filing_it(self, database: Database) -> None:
        assert verdict_of(database, a_canary())[0] is Verdict.LEARNING
        with database.reading() as transaction:
            assert transaction.canaries.of_device(HERE) == []

    def test_an_operator_may_take_a_drift_for_how_it_is_now(self, database: Database) -> None:
        with database.transaction() as transaction, pytest.raises(ConflictError, match="has not drifted"):
            accept_drift(transaction, HERE, "ada")
        for _ in range(3):
            filed(database, 1.0)
        filed(database, 1.5)
        with database.transaction() as transaction:
            accept_drift(transaction, HERE, "ada")
            assert transaction.canaries.suspects() == {}
            assert "accepted by ada" in transaction.canaries.of_device(HERE)[-1].reason
        verdicts = [filed(database, 1.5).canary.verdict for _ in range(3)]
        assert verdicts == [Verdict.LEARNING, Verdict.LEARNING, Verdict.GOOD]
        assert filed(database, 1.0).canary.verdict is Verdict.DRIFTED


def add(database: Database, canary: Canary) -> Canary:
    with database.transaction() as transaction:
        return transaction.canaries.add(canary)


def newest(database: Database, device_uuid: str) -> Canary | None:
    with database.reading() as transaction:
        return transaction.canaries.newest(device_uuid, a_device_type(), a_toolchain_id())


def filed(database: Database, median_ms: float, device_uuid: str = HERE) -> FiledCanary:
    later()
    return file_canary(database, a_canary(median_ms=median_ms, device_uuid=device_uuid))


def measured(database: Database, salt: str) -> int:
    """The number of an engine that was just measured on the first device."""
    _, number = given_a_finished_job(database, a_build_spec(salt=salt), outcome=an_outcome(engine=salt))
    return number


def run_of(database: Database, engine_id: int) -> Run:
    with database.reading() as transaction:
        return transaction.engines.get(engine_id).runs[-1]
