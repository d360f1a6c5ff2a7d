"""What every file of engines must do: one engine per key, and runs beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import AttemptSupersededError, NotFoundError
from farm.domain.jobs import JobState
from tests.behaviours.given import (
    OnAFarm,
    claim,
    fail,
    given_a_finished_job,
    given_a_model,
    given_a_running_job,
    later,
)
from tests.factories import (
    a_benchmark_request,
    a_build_spec,
    a_device_type,
    a_digest,
    a_failure,
    a_measurement,
    a_model,
    a_target,
    a_toolchain_id,
    an_accuracy,
    an_l4,
    an_outcome,
)

if TYPE_CHECKING:
    from farm.domain.filing import Engine, HistoryEntry
    from farm.domain.specs import BuildSpec
    from farm.services.ports import Database


class EngineFilesBehaviour(OnAFarm):
    """Tests of `transaction.engines`.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    # Engines.

    def test_a_filed_engine_is_found_under_its_key(self, database: Database) -> None:
        job, engine_id = given_a_finished_job(database)
        engine = find(database, job.spec)
        assert engine is not None
        assert (engine.id, engine.spec, engine.job_id) == (engine_id, job.spec, job.id)
        assert (engine.digest, engine.build_s) == (a_digest("plan"), 12.5)
        assert (engine.precision_note, engine.layers) == ("fp16 where faster", 12)
        assert engine.device_memory_bytes == 1 << 20
        assert engine.is_verified
        with database.reading() as transaction:
            assert transaction.engines.get(engine_id) == engine

    @pytest.mark.parametrize(
        "other",
        [
            a_build_spec(salt="other"),
            a_build_spec(precision="fp32"),
            a_build_spec(target=a_target(device_type=an_l4())),
            a_build_spec(target=a_target(device_type=a_device_type(memory_gib=141))),
            a_build_spec(target=a_target(toolchain=a_toolchain_id(version="8.6.1"))),
            a_build_spec(builder_config={}),
            a_build_spec(profiles=()),
        ],
        ids=["salt", "precision", "gpu", "memory", "version", "options", "profiles"],
    )
    def test_no_engine_is_found_under_another_key(self, database: Database, other: BuildSpec) -> None:
        given_a_finished_job(database)
        assert find(database, other) is None

    def test_an_unknown_engine_is_not_found(self, database: Database) -> None:
        with database.reading() as transaction, pytest.raises(NotFoundError):
            transaction.engines.get(12345)

    def test_an_engine_that_is_filed_keeps_its_bytes_and_gets_another_run(self, database: Database) -> None:
        first, engine_id = given_a_finished_job(database)
        _, again = given_a_finished_job(database, outcome=an_outcome(engine="another plan", batches=(16,)))
        assert again == engine_id
        engine = find(database, a_build_spec())
        assert engine is not None
        assert (engine.digest, engine.job_id) == (a_digest("plan"), first.id)
        assert len(engine.runs) == 2
        # The second run is of bytes that nobody is handed.
        assert engine.measured_batches() == {1, 8}

    def test_engines_are_listed_oldest_first_and_by_model(self, database: Database) -> None:
        other = a_model("other")
        given_a_model(database, other, "other")
        specs = [
            a_build_spec(),
            a_build_spec(model_sha256=other.digest.sha256),
            a_build_spec(precision="fp32"),
        ]
        for number, spec in enumerate(specs):
            given_a_finished_job(database, spec, outcome=an_outcome(engine=f"plan {number}"))
        with database.reading() as transaction:
            assert [engine.spec for engine in transaction.engines.engines()] == specs
            of_model = transaction.engines.engines(model_sha256=specs[0].model_sha256)
            assert [engine.spec for engine in of_model] == [specs[0], specs[2]]
            assert transaction.engines.engines(model_sha256=a_digest("unknown").sha256) == []

    def test_two_keys_may_have_the_same_bytes(self, database: Database) -> None:
        _, first = given_a_finished_job(database)
        _, second = given_a_finished_job(database, a_build_spec(salt="other"))
        assert first != second

    # Runs.

    def test_a_run_can_be_traced_to_where_it_was_measured(self, database: Database) -> None:
        given_a_finished_job(database)
        (run,) = filed(database).runs
        assert (run.device_uuid, run.driver_version, run.host) == ("GPU-0", "580.159.03", "host-a")
        assert run.engine_id == filed(database).id
        assert run.samples == a_digest("samples of plan (1, 8)")
        assert run.taints == ()

    def test_figures_and_accuracy_come_back_as_they_were_measured(self, database: Database) -> None:
        on_a_cpu = a_measurement(4, h2d=None, d2h=None, graph=False, shapes={"b": (4,), "a": ()})
        outcome = an_outcome(measurements=(a_measurement(1).as_json(), on_a_cpu.as_json()))
        given_a_finished_job(database, outcome=outcome)
        (run,) = filed(database).runs
        assert run.measurements == (a_measurement(1), on_a_cpu)
        assert run.accuracy == an_accuracy()

    def test_a_benchmark_adds_a_run_to_a_filed_engine(self, database: Database) -> None:
        _, engine_id = given_a_finished_job(database)
        benchmark = an_outcome(engine=None, batches=(2, 4))
        _, measured = given_a_finished_job(
            database, request=a_benchmark_request(batches=(2, 4)), outcome=benchmark
        )
        assert measured == engine_id
        assert filed(database).measured_batches() == {1, 2, 4, 8}
        assert [m.batch for m in filed(database).runs[-1].measurements] == [2, 4]

    def test_an_attempt_that_was_superseded_files_nothing_at_its_end(self, database: Database) -> None:
        job, attempt = given_a_running_job(database)
        ghost = replace(attempt, number=attempt.number + 1)
        with pytest.raises(AttemptSupersededError), database.transaction() as transaction:
            transaction.engines.finish(job, ghost, an_outcome(), a_digest("log"))
        assert find(database, job.spec) is None
        with database.reading() as transaction:
            assert transaction.jobs.get(job.id).state is JobState.RUNNING
            with pytest.raises(NotFoundError):
                transaction.engines.artifact(a_digest("plan").sha256)

    def test_a_log_that_is_the_very_engine_is_noted_once(self, database: Database) -> None:
        job, attempt = given_a_running_job(database)
        with database.transaction() as transaction:
            transaction.engines.finish(job, attempt, an_outcome(engine="both"), a_digest("both"))
        assert filed(database).digest == a_digest("both")
        with database.reading() as transaction:
            assert transaction.jobs.attempts(job.id)[-1].log == a_digest("both")

    def test_an_end_forgets_why_the_job_failed_before_and_the_attempt_keeps_it(
        self, database: Database
    ) -> None:
        job, attempt = given_a_running_job(database)
        fail(database, attempt, JobState.QUEUED, failure=a_failure())
        _, again = claim(database, job)
        with database.transaction() as transaction:
            transaction.engines.finish(job, again, an_outcome(), a_digest("log"))
            assert transaction.jobs.get(job.id).failure is None
            assert [one.failure is None for one in transaction.jobs.attempts(job.id)] == [False, True]

    def test_a_benchmark_of_what_is_not_filed_is_refused(self, database: Database) -> None:
        job, attempt = given_a_running_job(database, request=a_benchmark_request())
        with pytest.raises(NotFoundError), database.transaction() as transaction:
            transaction.engines.file(job, attempt, an_outcome(engine=None))

    def test_an_engine_that_could_not_be_run_has_no_runs(self, database: Database) -> None:
        unverified = an_outcome(
            accuracy=None, measurements=(), samples=None, unverified_reason="no such GPU here"
        )
        given_a_finished_job(database, outcome=unverified)
        assert filed(database).runs == ()
        assert not filed(database).is_verified
        assert filed(database).unverified_reason == "no such GPU here"

    def test_what_a_failed_transaction_filed_is_not_kept(self, database: Database) -> None:
        job, attempt = given_a_running_job(database)
        with pytest.raises(RuntimeError), database.transaction() as transaction:
            transaction.engines.file(job, attempt, an_outcome())
            raise RuntimeError("the power went away")
        assert find(database, job.spec) is None

    # History.

    def test_history_follows_a_name_through_its_versions(self, database: Database) -> None:
        newer = a_model("newer")
        given_a_finished_job(database, outcome=an_outcome(batches=(8, 1)))
        given_a_model(database, newer, "resnet")
        later()
        spec = a_build_spec(model_sha256=newer.digest.sha256)
        given_a_finished_job(database, spec, outcome=an_outcome(engine="plan 2", batches=(4,)))
        found = history(database, "resnet")
        assert [(entry.model_version, entry.measurement.batch) for entry in found] == [(1, 1), (1, 8), (2, 4)]
        assert [entry.engine.spec for entry in found] == [a_build_spec(), a_build_spec(), spec]
        assert all(entry.model_name == "resnet" for entry in found)

    def test_history_of_another_name_is_empty(self, database: Database) -> None:
        given_a_finished_job(database)
        assert history(database, "vit") == []

    def test_history_begins_where_it_is_asked_to(self, database: Database) -> None:
        given_a_finished_job(database, outcome=an_outcome(batches=(1,)))
        later()
        benchmark = an_outcome(engine=None, batches=(2,))
        given_a_finished_job(database, request=a_benchmark_request(), outcome=benchmark)
        first, second = filed(database).runs
        with database.reading() as transaction:
            for since, batches in [
                (first.started_at, [1, 2]),
                (second.started_at, [2]),
                (second.started_at + timedelta(seconds=1), []),
            ]:
                found = transaction.engines.history(name="resnet", since=since, include_tainted=False)
                assert [entry.measurement.batch for entry in found] == batches

    # Artifacts.

    def test_a_noted_artifact_is_found_by_its_sha256(self, database: Database) -> None:
        digest = a_digest("samples")
        for kind in ("samples", "samples"):
            with database.transaction() as transaction:
                transaction.engines.add_artifact(digest, kind)
        with database.reading() as transaction:
            assert transaction.engines.artifact(digest.sha256) == digest

    def test_an_artifact_that_nobody_noted_is_not_found(self, database: Database) -> None:
        with database.reading() as transaction, pytest.raises(NotFoundError):
            transaction.engines.artifact(a_digest("unknown").sha256)

    def test_all_that_a_build_leaves_is_noted(self, database: Database) -> None:
        given_a_finished_job(database)
        with database.reading() as transaction:
            for digest in (a_digest("plan"), a_digest("samples of plan (1, 8)"), a_digest("log")):
                assert transaction.engines.artifact(digest.sha256) == digest


def find(database: Database, spec: BuildSpec) -> Engine | None:
    """The engine under a key."""
    with database.reading() as transaction:
        return transaction.engines.find(spec)


def filed(database: Database) -> Engine:
    """The engine under the default key."""
    engine = find(database, a_build_spec())
    assert engine is not None
    return engine


def history(database: Database, name: str) -> list[HistoryEntry]:
    """The whole history of a name."""
    with database.reading() as transaction:
        return transaction.engines.history(name=name, since=None, include_tainted=False)
