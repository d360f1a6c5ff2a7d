"""What every file of engines must do when a cell is built anew: the new engine takes the old one's place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.behaviours.given import OnAFarm, given_a_finished_job
from tests.factories import a_benchmark_request, a_build_spec, a_digest, a_job_request, an_outcome

if TYPE_CHECKING:
    from farm.domain.filing import Engine
    from farm.domain.work import AttemptOutcome
    from farm.services.ports import Database

UNVERIFIED = {
    "accuracy": None,
    "measurements": (),
    "samples": None,
    "unverified_reason": "no such GPU here",
}


class RebuiltEnginesBehaviour(OnAFarm):
    """Tests of `transaction.engines` with jobs that were told to rebuild.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    def test_a_rebuilt_engine_takes_the_place_of_the_filed_one_under_the_same_number(
        self, database: Database
    ) -> None:
        _, first = given_a_finished_job(database)
        job, again = rebuild(database, an_outcome(engine="new plan", seconds={"build": 3.0}))
        assert again == first
        engine = filed(database)
        assert (engine.digest, engine.job_id, engine.build_s) == (a_digest("new plan"), job, 3.0)

    def test_the_runs_of_the_old_engine_stay_and_count_no_more_as_the_new_ones(
        self, database: Database
    ) -> None:
        given_a_finished_job(database, outcome=an_outcome(batches=(1, 16)))
        rebuild(database, an_outcome(engine="new plan", batches=(1,)))
        engine = filed(database)
        assert [run.engine_sha256 for run in engine.runs] == [
            a_digest(name).sha256 for name in ("plan", "new plan")
        ]
        assert engine.measured_batches() == {1}
        assert engine.latest_run == engine.runs[-1]
        with database.reading() as transaction:
            history = transaction.engines.history(name="resnet", since=None, include_tainted=False)
        assert [entry.measurement.batch for entry in history] == [1, 16, 1]

    def test_a_benchmark_of_the_old_bytes_says_nothing_of_the_new_ones(self, database: Database) -> None:
        given_a_finished_job(database)
        rebuild(database, an_outcome(engine="new plan", batches=(1,)))
        late = an_outcome(engine=None, batches=(4,), measured=a_digest("plan"))
        given_a_finished_job(database, request=a_benchmark_request(batches=(4,)), outcome=late)
        assert filed(database).measured_batches() == {1}
        assert [m.batch for m in filed(database).runs[-1].measurements] == [4]

    def test_what_was_not_verified_takes_no_verified_engines_place(self, database: Database) -> None:
        given_a_finished_job(database)
        rebuild(database, an_outcome(engine="new plan", **UNVERIFIED))
        assert filed(database).digest == a_digest("plan")
        assert filed(database).is_verified

    def test_where_nobody_can_verify_the_new_engine_takes_the_place(self, database: Database) -> None:
        given_a_finished_job(database, outcome=an_outcome(**UNVERIFIED))
        rebuild(database, an_outcome(engine="new plan", **UNVERIFIED))
        assert filed(database).digest == a_digest("new plan")

    def test_an_unsigned_engine_takes_no_signed_ones_place(self, database: Database) -> None:
        given_a_finished_job(database)
        rebuild(database, an_outcome(engine="new plan", signed=None))
        assert filed(database).digest == a_digest("plan")

    def test_a_rebuild_of_what_is_not_filed_is_a_build(self, database: Database) -> None:
        rebuild(database, an_outcome(engine="new plan"))
        assert filed(database).digest == a_digest("new plan")

    def test_what_the_builds_came_to_is_kept_with_the_engine(self, database: Database) -> None:
        builds = [{"build": 1, "kept": False}, {"build": 2, "kept": True}]
        outcome = an_outcome()
        build = {**outcome.build, "details": {"builds": builds}, "build_s": 2.5}
        given_a_finished_job(database, outcome=an_outcome(build=build))
        assert filed(database).builds == builds
        # Of the build that was kept; the attempt's time is that of all of them.
        assert filed(database).build_s == 2.5


def rebuild(database: Database, outcome: AttemptOutcome) -> tuple[str, int]:
    """A rebuild that succeeded: its job, and the number of the engine."""
    job, engine_id = given_a_finished_job(database, request=a_job_request(rebuild_by="ada"), outcome=outcome)
    return job.id, engine_id


def filed(database: Database) -> Engine:
    """The engine under the default key."""
    with database.reading() as transaction:
        engine = transaction.engines.find(a_build_spec())
    assert engine is not None
    return engine
