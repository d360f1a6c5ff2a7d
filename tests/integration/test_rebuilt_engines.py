"""Cells that are built anew, or several times: which engine is kept, and what is known of the others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.jobs import JobState
from tests.fake_toolchain.harness import FarmOfTest, farm_of_test, wait_until
from tests.fake_toolchain.toolchain import read_cache
from workers.interpreters import probe_interpreter

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def place(tmp_path: Path) -> Iterator[FarmOfTest]:
    """A farm of one host."""
    with farm_of_test(tmp_path, probe_interpreter(Path(sys.executable), tmp_path / "probe")) as made:
        yield made


def built(place: FarmOfTest, *script: str, **request: Any) -> str:
    """The job of a submission whose builds do as they are told, once it has succeeded."""
    done = len(place.fake.pids())
    place.fake.does(*["build"] * done, *script)
    with place.worker():
        (job_id,) = place.submit(**request)
        place.succeeded(job_id)
    return job_id


def text_of(place: FarmOfTest, job_id: str) -> str:
    """What a variant says of itself."""
    data = b"".join(place.farm.store.chunks(place.engine(job_id).digest))
    return data[-20:].decode(errors="replace")


def test_a_rebuild_puts_its_engine_in_the_place_of_the_filed_one(place: FarmOfTest) -> None:
    first = built(place, "variant")
    before = place.engine(first)
    second = built(place, "variant", rebuild_by="grace")
    after = place.engine(second)
    assert (after.id, after.job_id) == (before.id, second)
    assert text_of(place, second).endswith("variant 2")
    assert after.details["rebuild"] == {"by": "grace", "in_place_of": before.digest.sha256}
    assert [run.engine_sha256 for run in after.runs] == [before.digest.sha256, after.digest.sha256]


def test_a_rebuild_that_fails_its_verification_leaves_the_filed_engine(place: FarmOfTest) -> None:
    before = place.engine(built(place, "variant"))
    place.fake.does("build", "wrong variant")
    with place.worker():
        (job_id,) = place.submit(rebuild_by="grace")
        assert place.ended(job_id).state is JobState.FAILED
    assert place.engine(job_id) == before


def test_the_old_engine_is_handed_out_while_the_new_one_is_built(place: FarmOfTest) -> None:
    before = place.engine(built(place, "variant"))
    place.fake.does("build", "wait")
    with place.worker():
        (job_id,) = place.submit(rebuild_by="grace")
        place.fake.pid(2)
        assert place.engine(job_id) == before
        place.fake.go()
        place.succeeded(job_id)
    assert place.engine(job_id).digest != before.digest


def test_a_pinned_engine_stays_although_a_rebuild_was_queued_before(place: FarmOfTest) -> None:
    before = place.engine(built(place, "variant"))
    (job_id,) = place.submit(rebuild_by="grace")
    with place.farm.database.transaction() as transaction:
        transaction.garbage.pin(before.id, "in the field")
    place.fake.does("build", "variant")
    with place.worker():
        place.succeeded(job_id)
    assert place.engine(job_id).digest == before.digest


def test_of_several_builds_the_fastest_is_kept(place: FarmOfTest) -> None:
    job_id = built(place, "slow variant", "variant", "slow variant", builds=3)
    engine = place.engine(job_id)
    assert text_of(place, job_id).endswith("variant 2")
    assert [(build["build"], build["kept"]) for build in engine.builds] == [(1, False), (2, True), (3, False)]
    assert len({build["sha256"] for build in engine.builds}) == 3
    assert engine.builds[1]["sha256"] == engine.digest.sha256
    slow, fast = engine.builds[0], engine.builds[1]
    assert slow["median_ms"]["1"] > 10 > fast["median_ms"]["1"]
    assert {build["verdict"] for build in engine.builds} == {"accurate enough"}
    (run,) = engine.runs
    assert [step["step"] for step in run.startup["steps"]] == ["load", "first inference"]
    assert [m.compute.median_ms for m in run.measurements] == [
        pytest.approx(fast["median_ms"]["1"], abs=1e-5)
    ]
    assert engine.build_s == pytest.approx(fast["build_s"])
    (attempt,) = place.attempts(job_id)
    assert attempt.seconds["build"] >= sum(build["build_s"] for build in engine.builds) - 0.01


def test_an_engine_that_is_fast_and_wrong_is_not_kept(place: FarmOfTest) -> None:
    job_id = built(place, "wrong variant", "slow variant", builds=2)
    engine = place.engine(job_id)
    assert text_of(place, job_id).endswith("slow variant 2")
    wrong, _ = engine.builds
    assert wrong["verdict"].startswith("AccuracyError: ")
    assert wrong["cosine"] < 0
    assert wrong["median_ms"] == {}


def test_a_build_that_is_refused_leaves_the_others(place: FarmOfTest) -> None:
    job_id = built(place, "refuse", "variant", builds=2)
    refused, _ = place.engine(job_id).builds
    assert refused["verdict"] == "BuildError: node 'conv1': not on a Sunday"
    assert text_of(place, job_id).endswith("variant 2")


def test_where_every_build_fails_the_job_fails_as_the_first_did(place: FarmOfTest) -> None:
    place.fake.does("refuse", "wrong")
    with place.worker():
        (job_id,) = place.submit(builds=2)
        job = place.ended(job_id)
    assert job.failure is not None
    assert (job.state, job.failure.code, job.failure.message) == (
        JobState.FAILED,
        "BuildError",
        "node 'conv1': not on a Sunday",
    )


def test_a_filed_engine_contends_with_more_builds_and_stays_if_it_is_the_fastest(place: FarmOfTest) -> None:
    before = place.engine(built(place, "variant"))
    job_id = built(place, "slow variant", "slow variant", builds=2)
    engine = place.engine(job_id)
    assert engine.digest == before.digest
    assert [(build["build"], build["kept"]) for build in engine.builds] == [
        (1, False),
        (2, False),
        ("filed", True),
    ]
    assert (engine.precision_note, engine.layers) == (before.precision_note, before.layers)
    assert engine.build_s == pytest.approx(before.build_s, abs=1e-5)
    assert len(engine.own_runs) == 2


def test_the_timing_cache_of_the_kept_build_is_filed_and_none_is_lent(place: FarmOfTest) -> None:
    place.fake.keeps_caches()
    built(place, "variant", salt="another cell")
    job_id = built(place, "slow variant", "variant", builds=2)
    with place.farm.database.reading() as transaction:
        (cache,) = transaction.caches.all()
    path = place.fake.control / "cache"
    place.farm.store.fetch(cache.digest, path)
    # Combined with what was filed before; of the builds only the kept one's entries are there.
    assert read_cache(path) == {"shared", "build 1", "build 3"}
    (attempt,) = place.attempts(job_id)
    with place.farm.database.reading() as transaction:
        use = transaction.caches.use_of(attempt)
    assert use is not None
    assert use.lent is None


def test_progress_says_which_build_it_is_at(place: FarmOfTest) -> None:
    place.fake.does("variant", "wait")
    with place.worker():
        (job_id,) = place.submit(builds=2)
        place.fake.pid(2)
        wait_until(lambda: place.attempts(job_id)[-1].message == "build 2 of 2: wait")
        # The first of two is done, and half of the second.
        assert place.attempts(job_id)[-1].fraction == 0.75
        place.fake.go()
        place.succeeded(job_id)


def test_a_deadline_covers_all_builds(place: FarmOfTest) -> None:
    place.fake.does("variant", "variant", "hang")
    with place.worker():
        (job_id,) = place.submit(builds=3, deadline_s=6, max_attempts=1)
        job = place.ended(job_id)
    assert job.failure is not None
    assert job.failure.code == "DeadlineExceededError"
    assert len(place.fake.pids()) == 3
