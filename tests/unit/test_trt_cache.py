"""TensorRT's timing caches, against a builder config that answers as TensorRT does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from workers.toolchains.trt_cache import (
    cache_facts,
    combine_caches,
    keep_timing_cache,
    offer_timing_cache,
)

if TYPE_CHECKING:
    from pathlib import Path

#: What libnvinfer 8.6.0 says of a cache of the same release and another GPU, and of another release.
OTHER_GPU = (
    "The UUID in incoming ITimingCache is different from current device. "
    "Set ignoreMimatch to true to force loading input ITimingCache."
)
OTHER_RELEASE = "The incoming ITimingCache is built from a different TensorRT version."
HERE = {"uuid": "GPU-here", "release": "8.6.0"}


class Log:
    """As much of `TrtLog` as is used."""

    def __init__(self) -> None:
        self.cache_lines: list[str] = []
        self.said: list[tuple[str, str]] = []
        self.errors: list[str] = []

    def hear(self, message: str) -> None:
        self.cache_lines.append(message)
        self.errors.append(message)

    def write(self, letter: str, message: str) -> None:
        self.said.append((letter, message))

    def forget(self) -> None:
        self.errors.clear()


class Cache:
    """A timing cache: a header and timings by tactic."""

    def __init__(self, log: Log, header: dict[str, str], timings: dict[str, float]) -> None:
        self.log, self.header, self.timings = log, header, timings

    def serialize(self) -> bytes:
        return json.dumps([self.header, self.timings]).encode()

    def combine(self, other: Cache, ignore_mismatch: bool) -> bool:
        if not fits(self.log, other, ignore_mismatch):
            return False
        self.timings = {**other.timings, **self.timings}
        return True


def fits(log: Log, cache: Cache, ignore_mismatch: bool) -> bool:
    if cache.header["release"] != HERE["release"]:
        log.hear(OTHER_RELEASE)
        return False
    if cache.header["uuid"] != HERE["uuid"] and not ignore_mismatch:
        log.hear(OTHER_GPU)
        return False
    return True


class Config:
    """As much of `IBuilderConfig` as is used."""

    def __init__(self) -> None:
        self.log = Log()
        self.cache: Cache | None = None

    def create_timing_cache(self, data: bytes) -> Cache | None:
        if not data:
            return Cache(self.log, HERE, {})
        try:
            return Cache(self.log, *json.loads(data))
        except ValueError:
            return None

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        if not fits(self.log, cache, ignore_mismatch):
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> Cache | None:
        return self.cache


@pytest.fixture
def config() -> Config:
    return Config()


def a_file(path: Path, timings: dict[str, float], **header: str) -> Path:
    path.write_text(json.dumps([{**HERE, **header}, timings]))
    return path


def offer(config: Config, path: Path | None) -> bool:
    log: Any = config.log
    return offer_timing_cache(config, log, path)


def combine(config: Config, paths: list[Path], merged: Path) -> list[bool]:
    log: Any = config.log
    return combine_caches(config, log, paths, merged)


def test_an_earlier_cache_is_taken(config: Config, tmp_path: Path) -> None:
    assert offer(config, a_file(tmp_path / "in", {"conv": 1.0}))
    assert keep_timing_cache(config, tmp_path / "out")
    assert json.loads((tmp_path / "out").read_text()) == [HERE, {"conv": 1.0}]


def test_without_an_earlier_cache_a_new_one_is_begun(config: Config) -> None:
    assert not offer(config, None)
    assert config.cache is not None
    assert config.cache.timings == {}


def test_a_cache_of_another_gpu_of_the_type_is_taken_and_its_complaint_explains_no_later_failure(
    config: Config, tmp_path: Path
) -> None:
    assert offer(config, a_file(tmp_path / "in", {"conv": 1.0}, uuid="GPU-there"))
    assert config.log.errors == []
    assert [letter for letter, _ in config.log.said] == ["I"]


@pytest.mark.parametrize(
    "content", [b"", b"not a timing cache", b'[{"uuid": "GPU-here", "release": "8.5.3"}, {}]']
)
def test_what_is_no_cache_of_this_release_is_left_with_a_warning(
    config: Config, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "in"
    path.write_bytes(content)
    assert not offer(config, path)
    assert [letter for letter, _ in config.log.said] == ["W"]
    assert config.log.errors == []
    assert config.cache is not None
    assert config.cache.timings == {}


def test_of_two_timings_of_one_tactic_the_earlier_caches_holds(config: Config, tmp_path: Path) -> None:
    one = a_file(tmp_path / "one", {"conv": 1.0, "pool": 2.0})
    two = a_file(tmp_path / "two", {"conv": 9.0, "relu": 3.0}, uuid="GPU-there")
    assert combine(config, [one, two], tmp_path / "both") == [True, True]
    assert json.loads((tmp_path / "both").read_text())[1] == {"conv": 1.0, "pool": 2.0, "relu": 3.0}


@pytest.mark.parametrize("position", [0, 1])
def test_a_cache_that_is_not_taken_leaves_the_others(config: Config, tmp_path: Path, position: int) -> None:
    paths = [a_file(tmp_path / "one", {"conv": 1.0}), a_file(tmp_path / "two", {"relu": 3.0})]
    (tmp_path / "bad").write_bytes(b"cut")
    paths.insert(position, tmp_path / "bad")
    taken = combine(config, paths, tmp_path / "all")
    assert [path.name for path, was_taken in zip(paths, taken, strict=True) if not was_taken] == ["bad"]
    assert json.loads((tmp_path / "all").read_text())[1] == {"conv": 1.0, "relu": 3.0}


def test_where_nothing_is_taken_nothing_is_written(config: Config, tmp_path: Path) -> None:
    foreign = a_file(tmp_path / "one", {"conv": 1.0}, release="10.0.1")
    assert combine(config, [foreign], tmp_path / "all") == [False]
    assert not (tmp_path / "all").exists()


def test_the_log_tells_of_entries_and_hits() -> None:
    lines = [
        "Loaded 40 timing cache entries.",
        "Serialized 52 timing cache entries",
        "Deleting timing cache: 0 entries, served 0 hits since creation.",
        "Deleting timing cache: 52 entries, served 311 hits since creation.",
    ]
    assert cache_facts(lines) == {"entries_before": 40, "entries_after": 52, "hits": 311}


def test_a_log_that_does_not_tell_leaves_it_open() -> None:
    assert cache_facts(["Deleting timing cache"]) == {
        "entries_before": None,
        "entries_after": None,
        "hits": None,
    }
