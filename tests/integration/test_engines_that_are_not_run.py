"""An engine that can not run as it is, such as a stripped one, is filed unverified; nobody tries to load it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fake_toolchain.harness import FarmOfTest, farm_of_test
from workers.interpreters import probe_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def place(tmp_path: Path) -> Iterator[FarmOfTest]:
    """A farm of one host."""
    with farm_of_test(tmp_path, probe_interpreter(Path(sys.executable), tmp_path / "probe")) as made:
        yield made


def test_a_stripped_plan_is_filed_with_the_reason_why_it_was_not_run(place: FarmOfTest) -> None:
    with place.worker():
        (job_id,) = place.submit(options={"strip_plan": True})
        place.succeeded(job_id)
    engine = place.engine(job_id)
    assert engine.unverified_reason == "stripped plan: its weights must be put back (refit) before it can run"
    assert not [run for run in engine.runs if run.measurements or run.accuracy]
    assert list((place.farm.settings.scratch / "references").glob("*")) == [], "nothing was to be compared"


def test_the_same_model_with_its_weights_is_run_as_ever(place: FarmOfTest) -> None:
    with place.worker():
        stripped, whole = place.submit(options={"strip_plan": True}), place.submit()
        for job_id in (*stripped, *whole):
            place.succeeded(job_id)
    assert place.engine(whole[0]).is_verified
    assert place.engine(whole[0]).latest_run is not None


def test_asking_again_for_a_stripped_plan_builds_nothing(place: FarmOfTest) -> None:
    with place.worker():
        (first,) = place.submit(options={"strip_plan": True})
        place.succeeded(first)
        (again,) = place.submit(options={"strip_plan": "yes"}, batches=(1,))
        place.succeeded(again)
    assert len(place.fake.pids()) == 1
