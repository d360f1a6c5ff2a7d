"""Where only weights changed: the filed engine with new weights first, verified like any other, the build behind it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.jobs import JobState
from farm.services.fetch import FetchQuery, find_engine
from farm.storage.onnx_files import read_model
from tests.fake_toolchain.harness import CPU, FarmOfTest, farm_of_test, write_model
from workers.interpreters import probe_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm.domain.filing import Engine

REFITTABLE = {"refit": "true"}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[FarmOfTest]:
    """A farm of one host, with a refittable engine of its model filed."""
    with farm_of_test(tmp_path, probe_interpreter(Path(sys.executable), tmp_path / "probe")) as made:
        with made.worker():
            made.succeeded(made.submit(options=REFITTABLE)[0])
        yield made


def trained_on(place: FarmOfTest) -> Path:
    """The model with other weights."""
    weights = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    return write_model(place.model.with_name("trained.onnx"), weights=weights)


def submit(place: FarmOfTest, model: Path, **more: Any) -> list[str]:
    return place.submit(model=model, options=REFITTABLE, refit=True, **more)


def handed_out(place: FarmOfTest) -> Engine:
    with place.farm.database.reading() as transaction:
        query = FetchQuery("small", device_types=(CPU,), toolchain="fake")
        return find_engine(transaction, query).engine


def test_models_that_differ_in_weights_alone_have_one_structure(place: FarmOfTest, tmp_path: Path) -> None:
    first, second = read_model(place.model), read_model(trained_on(place))
    wider = read_model(write_model(tmp_path / "w.onnx", weights=np.ones((4, 5), dtype=np.float32)))
    assert first.digest != second.digest
    assert first.structure_sha256 == second.structure_sha256 != wider.structure_sha256


def test_the_filed_engine_gets_the_new_weights_and_the_build_follows(place: FarmOfTest) -> None:
    (base,) = place.engines()
    refit, build = submit(place, trained_on(place))
    assert place.job(refit).spec.refit_of == base.digest.sha256
    assert place.job(build).spec.refit_of == ""
    with place.worker():
        place.succeeded(refit)
        place.succeeded(build)
    with np.load(place.fake.control / "refit-1") as given:
        assert {name: array.shape for name, array in given.items()} == {"w": (4, 3)}
        assert given["w"][0, 0] == -1
    assert place.engine(refit).precision_note == "refitted"
    # Verified against the new model, like any other.
    (run,) = place.engine(refit).runs
    assert run.accuracy is not None
    assert run.accuracy.worst.cosine == pytest.approx(1.0)
    assert [m.batch for m in run.measurements] == [1]


def test_the_refit_is_handed_out_until_the_full_build_is_there(place: FarmOfTest) -> None:
    place.fake.does("build", "wait")
    refit, build = submit(place, trained_on(place))
    with place.worker():
        place.succeeded(refit)
        assert handed_out(place).id == place.engine(refit).id
        place.fake.go()
        place.succeeded(build)
    assert handed_out(place).id == place.engine(build).id


def test_a_refit_that_the_toolchain_refuses_leaves_the_build(place: FarmOfTest) -> None:
    (place.fake.control / "refuses refits").touch()
    refit, build = submit(place, trained_on(place))
    with place.worker():
        job = place.ended(refit)
        place.succeeded(build)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.message == "no weights are called 'w'"


def test_a_refit_whose_engine_was_built_anew_meanwhile_is_refused(place: FarmOfTest) -> None:
    refit, _ = submit(place, trained_on(place))
    place.fake.does("build", "variant")
    (again,) = place.submit(options=REFITTABLE, rebuild_by="ada", priority=10)
    with place.worker():
        place.succeeded(again)
        job = place.ended(refit)
    assert job.failure is not None
    assert "is not filed any more" in job.failure.message


def test_what_a_job_is_to_refit_is_no_garbage(place: FarmOfTest) -> None:
    (base,) = place.engines()
    submit(place, trained_on(place))
    with place.farm.database.reading() as transaction:
        assert base.digest.sha256 in transaction.garbage.referenced()


def test_a_model_of_another_structure_is_built(place: FarmOfTest, tmp_path: Path) -> None:
    other = write_model(tmp_path / "wider.onnx", weights=np.ones((4, 5), dtype=np.float32))
    (job_id,) = submit(place, other)
    assert place.job(job_id).spec.refit_of == ""


def test_an_engine_that_can_not_be_refitted_is_built(place: FarmOfTest) -> None:
    (job_id,) = place.submit(model=trained_on(place), refit=True)
    assert place.job(job_id).spec.refit_of == ""


def test_who_has_the_full_build_needs_no_refit(place: FarmOfTest) -> None:
    (job_id,) = submit(place, place.model)
    assert place.job(job_id).spec.refit_of == ""
    assert place.job(job_id).state is JobState.SUCCEEDED
