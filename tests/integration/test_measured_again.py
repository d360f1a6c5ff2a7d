"""A benchmark that something disturbed is made again, from end to end: real children under a stand-in for NVML."""

from __future__ import annotations

import io
import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.jobs import JobKind
from farm.domain.work import JobRequest
from tests.fake_nvml import FakeGpu, FakeNvml
from workers import supervision
from workers.condition_watch import ConditionWatch
from workers.host_samples import HostSampler

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm.domain.conditions import HostSample
    from farm.domain.filing import Run
    from tests.fake_toolchain.harness import FarmOfTest

#: Long enough for two looks at 20 Hz; any interval will do, so that a busy host taints nothing.
LONG = BenchmarkSpec(warmup_ms=0, duration_ms=150, min_iterations=3, precision_percent=100)


class QuietHost(HostSampler):
    """One whose CPUs are always free, whatever else runs on the host of the test."""

    def sample(self, at: float) -> HostSample:
        return replace(super().sample(at), waited_s=0.0, throttled_s=None)


class Card:
    """A GPU that the watch sees in place of the host's CPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gpu = FakeGpu("NVIDIA H200", "GPU-1")
        self.children: list[int] = []
        #: Ids of the processes of others, given how many children there were.
        self.strangers: Callable[[int], list[int]] = lambda _children: []
        self.gpu.tells = {
            "SmClock": 1980,
            "PowerUsage": 300_000,
            "Compute": lambda: [*self.children[-1:], *self.strangers(len(self.children))],
        }
        #: Is told of every child.
        self.on_child: Callable[[int], None] = lambda _pid: None
        monkeypatch.setattr(supervision, "ConditionWatch", self.watch)

    def watch(self, _uuid: str, pid: int, phase: Callable[[], str]) -> ConditionWatch:
        self.children.append(pid)
        self.on_child(pid)
        return ConditionWatch(self.gpu.uuid, pid, phase, nvml=FakeNvml([self.gpu]), host=QuietHost(pid))


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    return Card(monkeypatch)


def patient(place: FarmOfTest, times: int = 2) -> FarmOfTest:
    """A farm that measures again on a CPU, too."""
    place.farm = replace(place.farm, settings=replace(place.farm.settings, remeasure=times))
    return place


def built(place: FarmOfTest, benchmark: BenchmarkSpec = LONG, **request: object) -> tuple[Run, ...]:
    """The runs that a build leaves."""
    with place.worker():
        (job_id,) = place.submit(benchmark=benchmark, **request)
        place.succeeded(job_id)
    return place.engine(job_id).runs


def kinds(run: Run) -> list[set[str]]:
    return [{taint.partition(":")[0] for taint in m.taints} for m in run.measurements]


def test_a_measurement_is_filed_with_what_its_device_was_like(place: FarmOfTest, card: Card) -> None:
    (run,) = built(patient(place, times=0))
    for measurement in run.measurements:
        assert measurement.conditions["sm_clock_mhz"]["median"] == 1980
        assert measurement.conditions["power_w"]["max"] == 300
        assert measurement.conditions["foreign"] == []
        assert measurement.conditions["samples"] >= 2
    assert set.union(*kinds(run)) == set()


def test_a_foreign_process_taints_and_the_benchmark_is_made_again_when_it_is_gone(
    place: FarmOfTest, card: Card
) -> None:
    card.strangers = lambda children: [4_000_001] if children == 1 else []
    first, second = built(patient(place))
    assert all("foreign process" in of_one for of_one in kinds(first))
    assert set.union(*kinds(second)) == set()
    assert first.measurements[0].taints[0] == "foreign process: unknown (4000001)"
    assert len(card.children) >= 2
    assert [m.method for m in first.measurements] == [m.method for m in second.measurements]
    assert first.accuracy == second.accuracy
    assert second.samples is not None
    assert first.samples not in (None, second.samples)
    arrays = np.load(io.BytesIO(b"".join(place.farm.store.chunks(second.samples))))
    assert {len(arrays[name]) for name in arrays} == {m.compute.count for m in second.measurements}


def test_what_stays_disturbed_is_tried_often_enough_and_the_last_stands(
    place: FarmOfTest, card: Card
) -> None:
    card.strangers = lambda _children: [4_000_001]
    runs = built(patient(place, times=1))
    assert len(runs) == len(card.children) == 2
    assert all("foreign process" in of_one for run in runs for of_one in kinds(run))


def test_the_log_says_why_it_is_made_again(place: FarmOfTest, card: Card) -> None:
    card.strangers = lambda children: [4_000_001] if children == 1 else []
    built(patient(place))
    (attempt,) = place.attempts(place.engines()[0].job_id)
    assert "[farm] measuring again: a foreign process was on the device\n" in place.log(attempt)


def test_where_measuring_again_fails_what_was_measured_before_stands(place: FarmOfTest, card: Card) -> None:
    card.strangers = lambda _children: [4_000_001]
    card.on_child = lambda pid: os.kill(pid, signal.SIGKILL) if len(card.children) == 2 else None
    (run,) = built(patient(place))
    assert all("foreign process" in of_one for of_one in kinds(run))
    assert run.samples is not None
    assert len(card.children) == 2


def test_a_benchmark_of_a_filed_engine_is_made_again_too(place: FarmOfTest, card: Card) -> None:
    built(patient(place))
    card.strangers = lambda children: [4_000_001] if children == 2 else []
    engine = place.engines()[0]
    with place.worker():
        with place.farm.database.transaction() as transaction:
            job = transaction.jobs.add(
                engine.spec, JobRequest(kind=JobKind.BENCHMARK, benchmark=replace(LONG, batches=(1,)))
            )
        place.succeeded(job.id)
    runs = place.engines()[0].runs
    assert [set.union(*kinds(run)) for run in runs] == [set(), {"foreign process"}, set()]


def test_without_a_number_a_cpu_is_not_measured_again(place: FarmOfTest, card: Card) -> None:
    card.strangers = lambda _children: [4_000_001]
    assert place.farm.settings.remeasure is None
    (run,) = built(place)
    assert "foreign process" in kinds(run)[0]
