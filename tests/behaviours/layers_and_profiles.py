"""What every file of engines must do with what engines tell of their layers, and every ledger with jobs that profile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from farm.domain.benchmarks import BenchmarkSpec
from tests.behaviours.given import OnAFarm, given_a_finished_job, given_a_queued_job
from tests.factories import a_benchmark_request, a_build_spec, a_digest, a_job_request, an_outcome

if TYPE_CHECKING:
    from farm.domain.filing import Engine
    from farm.domain.work import JobRequest
    from farm.services.ports import Database

PROFILES = BenchmarkSpec(batches=(8,), profile=True)


def profiling(**changes: object) -> JobRequest:
    """A benchmark that times layers too."""
    return a_benchmark_request(benchmark=replace(PROFILES, **changes))  # type: ignore[arg-type]


class LayersAndProfilesBehaviour(OnAFarm):
    """Tests of `transaction.engines` and `transaction.jobs`.

    Fixture to give: `database`, an empty one with its schema in place.
    """

    def test_what_an_engine_told_of_its_layers_is_filed_with_it(self, database: Database) -> None:
        given_a_finished_job(database, outcome=an_outcome(layer_information=a_digest("layers")))
        assert filed(database).layer_information == a_digest("layers")
        with database.reading() as transaction:
            assert transaction.engines.artifact(a_digest("layers").sha256) == a_digest("layers")

    def test_an_engine_that_told_nothing_is_filed_all_the_same(self, database: Database) -> None:
        given_a_finished_job(database)
        assert filed(database).layer_information is None

    def test_two_engines_may_have_told_the_same(self, database: Database) -> None:
        for salt in ("", "other"):
            told = an_outcome(engine=f"plan {salt}", layer_information=a_digest("layers"))
            given_a_finished_job(database, a_build_spec(salt=salt), outcome=told)
        assert filed(database).layer_information == a_digest("layers")

    def test_an_engine_keeps_its_layers_when_it_is_measured_again(self, database: Database) -> None:
        given_a_finished_job(database, outcome=an_outcome(layer_information=a_digest("layers")))
        benchmark = an_outcome(engine=None, batches=(2,))
        given_a_finished_job(database, request=a_benchmark_request(batches=(2,)), outcome=benchmark)
        assert filed(database).layer_information == a_digest("layers")

    def test_an_engine_that_takes_anothers_place_has_its_own_layers(self, database: Database) -> None:
        unsigned = an_outcome(signed=None, layer_information=a_digest("layers"))
        given_a_finished_job(database, outcome=unsigned)
        given_a_finished_job(database, outcome=an_outcome(engine="anew"))
        assert (filed(database).digest, filed(database).layer_information) == (a_digest("anew"), None)

    def test_an_engine_that_won_against_its_rebuilds_keeps_its_layers(self, database: Database) -> None:
        given_a_finished_job(database, outcome=an_outcome(layer_information=a_digest("layers")))
        rebuild = a_job_request(rebuild_by="ada", builds=3)
        given_a_finished_job(database, request=rebuild, outcome=an_outcome())
        assert filed(database).layer_information == a_digest("layers")

    def test_the_times_of_layers_are_filed_with_the_run(self, database: Database) -> None:
        given_a_finished_job(database)
        measured = an_outcome(engine=None, batches=(8,), profile=a_digest("profile"))
        given_a_finished_job(database, request=profiling(), outcome=measured)
        first, second = filed(database).runs
        assert (first.profile, second.profile) == (None, a_digest("profile"))
        assert second.taints == (), "it was profiled after it was timed"

    def test_a_run_that_nsight_systems_looked_at_is_tainted_and_has_its_report(
        self, database: Database
    ) -> None:
        given_a_finished_job(database)
        seen = an_outcome(engine=None, batches=(32,), nsys=a_digest("report"))
        request = profiling(profile=False, nsys=True)
        given_a_finished_job(database, request=request, outcome=seen)
        run = filed(database).runs[-1]
        assert run.nsys_sha256 == a_digest("report").sha256
        assert run.taints
        assert 32 not in filed(database).measured_batches()

    def test_a_benchmark_that_profiles_is_another_job_than_one_that_does_not(
        self, database: Database
    ) -> None:
        plain = a_benchmark_request(batches=(8,))
        waiting = given_a_queued_job(database, request=plain)
        with database.reading() as transaction:
            assert transaction.jobs.active(a_build_spec(), plain) == waiting
            assert transaction.jobs.active(a_build_spec(), profiling()) is None
        jobs = [given_a_queued_job(database, request=r) for r in (profiling(), profiling(nsys=True))]
        with database.reading() as transaction:
            assert transaction.jobs.active(a_build_spec(), profiling()) == jobs[0]
            assert transaction.jobs.get(jobs[1].id).request == profiling(nsys=True)


def filed(database: Database) -> Engine:
    """The engine under the default key."""
    with database.reading() as transaction:
        engine = transaction.engines.find(a_build_spec())
    assert engine is not None
    return engine
