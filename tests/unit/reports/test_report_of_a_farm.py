"""Which engines a report is of: of the versions that are meant, that were run, and that somebody asked for with a tag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.errors import NotFoundError
from farm.domain.report import Wanted
from farm.domain.work import Cell, Disposition
from farm.services.report import keys_with_tag, make_report, reported_names
from tests.behaviours.given import (
    given_a_farm,
    given_a_finished_job,
    given_a_model,
    given_a_queued_job,
    given_a_submission,
)
from tests.factories import (
    a_build_spec,
    a_digest,
    a_measurement,
    a_model,
    a_target,
    a_toolchain,
    a_toolchain_id,
    a_worker,
    an_outcome,
)
from tests.fakes import InMemoryDatabase

if TYPE_CHECKING:
    from farm.domain.report import ModelReport
    from farm.domain.work import ModelName


@pytest.fixture
def database() -> InMemoryDatabase:
    """With an engine of `resnet` in FP16."""
    made = InMemoryDatabase()
    given_a_farm(made)
    given_a_finished_job(made)
    return made


def reports(database: InMemoryDatabase, *words: str, **given: Any) -> list[ModelReport]:
    with database.reading() as transaction:
        names = reported_names(transaction, words)
        return make_report(transaction, names, Wanted(), given.pop("passes", lambda _: True), **given)


def names(database: InMemoryDatabase, *words: str) -> list[str]:
    with database.reading() as transaction:
        return [str(name) for name in reported_names(transaction, words)]


def a_second_version(database: InMemoryDatabase) -> ModelName:
    other = a_model("retrained")
    name = given_a_model(database, other, "resnet")
    spec = a_build_spec(model_sha256=other.digest.sha256)
    given_a_finished_job(database, spec, outcome=an_outcome(engine="retrained"))
    return name


def test_the_newest_version_of_every_model_is_meant_unless_one_is_named(database: InMemoryDatabase) -> None:
    a_second_version(database)
    given_a_model(database, a_model("another"), "alexnet")
    assert names(database) == ["alexnet@1", "resnet@2"]
    assert names(database, "resnet@1", "resnet", "resnet@2") == ["resnet@1", "resnet@2"]
    with pytest.raises(NotFoundError):
        names(database, "vgg")
    # One without any engine has no report.
    assert [str(report.name) for report in reports(database)] == ["resnet@2"]


def test_baselines_come_first_then_the_order_of_reading(database: InMemoryDatabase) -> None:
    def file(toolchain: str, precision: str, version: str = "8.6.0") -> None:
        target = a_target(toolchain=a_toolchain_id(toolchain, version))
        toolchains = (a_toolchain(name=toolchain, version=version),)
        with database.transaction() as transaction:
            transaction.fleet.register(a_worker(toolchains=toolchains))
        spec = a_build_spec(target=target, precision=precision, builder_config={})
        given_a_finished_job(database, spec, outcome=an_outcome(engine=f"{toolchain} {precision} {version}"))

    for each in (
        ("tensorrt", "int8"),
        ("tensorrt", "fp32", "10.3.0"),
        ("torch", "fp32"),
        ("tensorrt", "fp32"),
    ):
        file(*each)
    (report,) = reports(database)
    told = [(str(line.engine.spec.target.toolchain), line.engine.spec.precision) for line in report.lines]
    assert told == [
        ("torch 8.6.0", "fp32"),
        ("tensorrt 8.6.0", "fp32"),
        ("tensorrt 8.6.0", "fp16"),
        ("tensorrt 8.6.0", "int8"),
        ("tensorrt 10.3.0", "fp32"),
    ]


def test_an_engine_that_was_never_run_has_no_line_but_is_named(database: InMemoryDatabase) -> None:
    outcome = an_outcome(
        engine="ahead", batches=(), accuracy=None, unverified_reason="no such GPU here", samples=None
    )
    given_a_finished_job(database, a_build_spec(precision="fp32"), outcome=outcome)
    (report,) = reports(database)
    assert [line.engine.spec.precision for line in report.lines] == ["fp16"]
    assert [engine.spec.precision for engine in report.never_run] == ["fp32"]


def test_only_engines_that_pass_are_reported(database: InMemoryDatabase) -> None:
    assert reports(database, passes=lambda engine: engine.spec.precision == "int8") == []


def test_a_base_that_is_nowhere_is_an_error_and_not_an_empty_column(database: InMemoryDatabase) -> None:
    with pytest.raises(NotFoundError, match="--than torch"):
        reports(database, than="torch")


def test_the_keys_of_a_tag_are_those_of_every_submission_that_has_it(database: InMemoryDatabase) -> None:
    with database.reading() as transaction:
        name = transaction.models.named("resnet")
    specs = [a_build_spec(), a_build_spec(precision="int8"), a_build_spec(precision="fp32")]
    for spec, tags in zip(specs, ({"team": "a"}, {"team": "a", "x": "y"}, {"team": "b"}), strict=True):
        job = given_a_queued_job(database, spec)
        given_a_submission(database, name, [Cell(0, spec, Disposition.QUEUED, job.id)], tags=tags)
    with database.reading() as transaction:
        assert keys_with_tag(transaction, ("team", "a")) == {spec.digest.sha256 for spec in specs[:2]}
        assert keys_with_tag(transaction, ("team", a_digest().sha256)) == frozenset()


def test_every_model_is_reported_by_the_method_that_its_own_engines_were_timed_by(
    database: InMemoryDatabase,
) -> None:
    other = a_model("another")
    given_a_model(database, other, "alexnet")
    plain = tuple(a_measurement(batch, graph=False).as_json() for batch in (1, 8))
    given_a_finished_job(
        database,
        a_build_spec(model_sha256=other.digest.sha256),
        outcome=an_outcome(engine="plain", measurements=plain),
    )
    assert [(str(report.name), str(report.lines[0].method)) for report in reports(database)] == [
        ("alexnet@1", "plain"),
        ("resnet@1", "cuda-graph"),
    ]
