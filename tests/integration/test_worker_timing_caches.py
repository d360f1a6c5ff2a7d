"""Timing caches through a worker and real children: lent, given back, combined, and never a build's failure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cli.main import farm as farm_command
from farm.domain.timing_caches import CacheUse, Merge, cache_key
from tests.fake_toolchain.harness import FarmOfTest, farm_of_test
from tests.fake_toolchain.toolchain import CACHE_HEADING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workers.interpreters import Interpreter


@pytest.fixture
def place(tmp_path: Path, own: Interpreter) -> Iterator[FarmOfTest]:
    """An embedded farm whose fake toolchain uses timing caches."""
    with farm_of_test(tmp_path, own) as made:
        made.fake.keeps_caches()
        yield made


def entries(place: FarmOfTest, job_id: str) -> set[str] | None:
    """Of the cache that is filed for a job's target and flags; none if none is."""
    with place.farm.database.reading() as transaction:
        digest = transaction.caches.find(cache_key(place.job(job_id).spec))
    if digest is None:
        return None
    heading, *lines = b"".join(place.farm.store.chunks(digest)).decode().splitlines()
    assert heading == CACHE_HEADING
    return set(lines)


def note(place: FarmOfTest, job_id: str) -> CacheUse:
    """What is noted on a job's last attempt."""
    with place.farm.database.reading() as transaction:
        found = transaction.caches.use_of(transaction.jobs.attempts(job_id)[-1])
    assert found is not None
    return found


def file(place: FarmOfTest, job_id: str, content: str) -> None:
    """Somebody else's cache, in place of whatever is filed."""
    digest = place.farm.store.put_bytes(content.encode())
    key = cache_key(place.job(job_id).spec)
    with place.farm.database.transaction() as transaction:
        assert transaction.caches.replace(key, transaction.caches.find(key), digest)


def build_with_interruption(place: FarmOfTest, content: str) -> str:
    """A build during which somebody else files a cache; its job, once the worker is done with it."""
    place.fake.does("wait")
    with place.worker():
        (job_id,) = place.submit()
        place.fake.pid()
        file(place, job_id, content)
        place.fake.go()
        place.succeeded(job_id)
        # Leaving the block waits for the worker, which combines after it has filed the engine.
    return job_id


def test_a_build_leaves_its_cache_to_the_next_one(place: FarmOfTest) -> None:
    with place.worker():
        (first,) = place.submit()
        place.succeeded(first)
        (second,) = place.submit(salt="again")
        place.succeeded(second)
    cold, warm = note(place, first), note(place, second)
    assert (cold.lent, cold.taken, cold.merged, cold.hit_ratio) == (None, None, Merge.SWAPPED, 0.0)
    assert (warm.taken, warm.merged, warm.hits, warm.timed) == (True, Merge.SWAPPED, 1, 1)
    assert warm.lent is not None
    assert warm.cold_build_s == cold.build_s
    assert warm.saved_s is not None
    assert entries(place, second) == {"shared", "build 1", "build 2"}


def test_a_cache_that_came_in_between_is_combined_in_a_child(place: FarmOfTest) -> None:
    job_id = build_with_interruption(place, f"{CACHE_HEADING}\ntheirs")
    assert entries(place, job_id) == {"theirs", "shared", "build 1"}
    assert note(place, job_id).merged is Merge.COMBINED


def test_a_foreign_cache_that_came_in_between_is_dropped(place: FarmOfTest) -> None:
    job_id = build_with_interruption(place, "something else")
    assert entries(place, job_id) == {"shared", "build 1"}
    assert note(place, job_id).merged is Merge.COMBINED


@pytest.mark.parametrize("behaviour", ["segfault", "refuse", "exit 0", "bug"])
def test_a_child_that_fails_at_combining_costs_only_the_update(place: FarmOfTest, behaviour: str) -> None:
    place.fake.keeps_caches(merging=behaviour)
    job_id = build_with_interruption(place, f"{CACHE_HEADING}\ntheirs")
    assert entries(place, job_id) == {"theirs"}
    use = note(place, job_id)
    assert use.merged is Merge.KEPT_OUT
    assert use.reason.startswith("it could not be combined: ")
    assert place.engine(job_id).is_verified
    assert place.scratch_of_attempts() == []


def test_a_filed_cache_that_the_builder_does_not_take_is_replaced(place: FarmOfTest) -> None:
    place.describe()
    (job_id,) = place.submit()
    file(place, job_id, "garbage")
    with place.worker():
        place.succeeded(job_id)
    use = note(place, job_id)
    assert (use.taken, use.merged) == (False, Merge.SWAPPED)
    assert entries(place, job_id) == {"shared", "build 1"}


def test_a_toolchain_without_caches_has_no_note(tmp_path: Path, own: Interpreter) -> None:
    with farm_of_test(tmp_path, own) as place:
        with place.worker():
            (job_id,) = place.submit()
            place.succeeded(job_id)
        with place.farm.database.reading() as transaction:
            (attempt,) = transaction.jobs.attempts(job_id)
            assert transaction.caches.use_of(attempt) is None
            assert transaction.caches.all() == []


def run(place: FarmOfTest, *words: str) -> None:
    """`farm` in this process, on the farm of the test."""
    farm_command.main(["--home", str(place.farm.settings.home), *words], standalone_mode=False)


def test_caches_are_shown_and_disowned(place: FarmOfTest, capsys: pytest.CaptureFixture[str]) -> None:
    with place.worker():
        (job_id,) = place.submit()
        place.succeeded(job_id)
    run(place, "caches", "--json")
    (document,) = json.loads(capsys.readouterr().out)
    assert (document["device_type"], document["toolchain"]) == ("cpu-test-2c", "fake 1.0.0")
    assert (document["flags"], document["lent"], document["merged"]) == ("fp32", 0, 1)
    assert document["hit_ratio"] is None
    run(place, "caches")
    assert "fp32" in capsys.readouterr().out
    run(place, "caches", "drop", "--gpu", "cpu-test-2c", "--flags", "fp16", "--yes")
    assert "0 timing cache(s)" in capsys.readouterr().out
    run(place, "caches", "drop", "--gpu", "cpu-test-2c", "--yes")
    assert "1 timing cache(s)" in capsys.readouterr().out
    assert entries(place, job_id) is None
