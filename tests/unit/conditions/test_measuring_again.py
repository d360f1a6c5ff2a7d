"""Which measurements are made again, how often, and which of them are kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.benchmarks import BenchmarkSpec, Measurement
from farm.domain.io_formats import IO_SCALES
from tests.factories import a_measurement
from workers.child.requests import AttemptRequest, AttemptResult
from workers.child.timed_call import TimedCall, samples_name
from workers.remeasuring import Disturbed, measure_again
from workers.toolchains.toolchain import BuildOutput

if TYPE_CHECKING:
    from pathlib import Path

FOREIGN = "foreign process: game (7)"


def of(batch: int, *taints: str, median: float = 1.0) -> Measurement:
    """A measurement of a batch size, known again by its throughput."""
    shapes = {"input": (batch, 3, 8, 8)}
    return a_measurement(batch, shapes=shapes, taints=taints, throughput_per_s=median)


@dataclass
class Children:
    """Children whose answers are written down; what they were asked is kept."""

    folder: Path
    answers: list[tuple[Measurement, ...] | None]
    batches: tuple[int, ...] = (1, 8)
    asked: list[AttemptRequest] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def run(self, request: AttemptRequest, why: str) -> AttemptResult | None:
        self.asked.append(request)
        self.reasons.append(why)
        found = self.answers.pop(0)
        if found is None:
            return None
        wanted = {call.batch for call in request.timed_calls}
        found = tuple(m for m in found if m.batch in wanted)
        self.leave(request, found)
        return AttemptResult(measurements=found)

    def leave(self, request: AttemptRequest, found: tuple[Measurement, ...]) -> None:
        """Raw samples whose value says whose they are."""
        assert request.samples_path is not None
        arrays = {samples_name(m): np.full((4, 3), m.throughput_per_s) for m in found}
        with request.samples_path.open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]

    def request(self, **changes: Any) -> AttemptRequest:
        calls = tuple(TimedCall(batch, {"input": (batch, 3, 8, 8)}) for batch in self.batches)
        return AttemptRequest(
            toolchain="fake",
            toolchain_version="1",
            engine_path=self.folder / "engine",
            benchmark=BenchmarkSpec(profile=True),
            timed_calls=calls,
            samples_path=self.folder / "samples.npz",
            profile_path=self.folder / "profile.json",
            inputs_path=self.folder / "inputs.npz",
            **changes,
        )

    def measure(
        self, *first: Measurement, times: int = 2, is_cpu: bool = False, **facts: Any
    ) -> tuple[AttemptResult, tuple[Disturbed, ...]]:
        request = self.request()
        self.leave(request, first)
        result = AttemptResult(measurements=first, **facts)
        return measure_again(request, result, times=times, is_cpu=is_cpu, run=self.run)

    def kept_samples(self) -> dict[str, float]:
        with np.load(self.folder / "samples.npz") as arrays:
            return {name: float(arrays[name][0, 0]) for name in arrays}


@pytest.fixture
def children(tmp_path: Path) -> Children:
    return Children(tmp_path, [])


def test_what_nothing_disturbed_is_not_made_again(children: Children) -> None:
    result, disturbed = children.measure(of(1), of(8))
    assert (result.measurements, disturbed) == ((of(1), of(8)), ())
    assert children.kept_samples() == {samples_name(of(1)): 1, samples_name(of(8)): 1}


def test_only_the_shapes_that_were_disturbed_are_made_again(children: Children) -> None:
    children.answers = [(of(8, median=2.0),)]
    result, disturbed = children.measure(of(1), of(8, FOREIGN))
    assert [call.batch for call in children.asked[0].timed_calls] == [8]
    assert result.measurements == (of(1), of(8, median=2.0))
    assert [run.measurements for run in disturbed] == [(of(8, FOREIGN),)]


def test_the_samples_that_are_kept_are_those_of_the_measurements_that_are_kept(children: Children) -> None:
    children.answers = [(of(8, median=2.0),)]
    _, (disturbed,) = children.measure(of(1), of(8, FOREIGN))
    assert children.kept_samples() == {samples_name(of(1)): 1, samples_name(of(8)): 2}
    assert disturbed.samples_path is not None
    with np.load(disturbed.samples_path) as arrays:
        assert len(list(arrays)) == 2


def test_it_ends_as_soon_as_all_is_clean(children: Children) -> None:
    children.answers = [(of(1), of(8, FOREIGN)), (of(8),), (of(8),)]
    _, disturbed = children.measure(of(1, FOREIGN), of(8, FOREIGN), times=5)
    assert [len(request.timed_calls) for request in children.asked] == [2, 1]
    assert len(disturbed) == 2


def test_it_ends_after_so_many_times_with_the_least_tainted_the_last_of_equals(children: Children) -> None:
    children.answers = [(of(1, FOREIGN, median=2.0),), (of(1, FOREIGN, "drift: x", median=3.0),)]
    result, disturbed = children.measure(of(1, FOREIGN, median=1.0))
    assert [m.throughput_per_s for m in result.measurements] == [2.0]
    assert [run.measurements[0].throughput_per_s for run in disturbed] == [1.0, 3.0]
    assert children.kept_samples() == {samples_name(of(1)): 2}


def test_of_a_shapes_methods_the_round_with_fewer_tainted_ones_is_kept(children: Children) -> None:
    plain, graph = replace(of(1, FOREIGN), graph=False), of(1)
    worse = (replace(of(1, FOREIGN, median=9.0), graph=False), of(1, FOREIGN))
    children.answers = [worse, worse]
    result, disturbed = children.measure(plain, graph)
    assert result.measurements == (plain, graph)
    assert [run.measurements for run in disturbed] == [worse, worse]


@pytest.mark.parametrize("times", [0, 1])
def test_nothing_is_made_again_where_it_is_switched_off_or_where_it_fails(
    children: Children, times: int
) -> None:
    children.answers = [None]
    result, disturbed = children.measure(of(1, FOREIGN), times=times)
    assert (result.measurements, disturbed) == ((of(1, FOREIGN),), ())
    assert len(children.asked) == times
    assert children.kept_samples() == {samples_name(of(1)): 1}


def test_taints_that_do_not_pass_are_not_made_again(children: Children) -> None:
    capped = replace(of(1, "power slowdown: x"), conditions={"reasons": {"SwPowerCap": 1.0}})
    children.measure(capped)
    children.measure(of(1, "unsettled: ±2 %"), is_cpu=True)
    assert children.asked == []
    children.answers = [(of(1),)]
    children.measure(of(1, "unsettled: ±2 %"))
    assert children.reasons == ["its times did not settle"]


def test_a_child_that_measures_again_neither_builds_nor_verifies_nor_looks_inside(children: Children) -> None:
    children.answers = [(of(1),)]
    built = BuildOutput(precision_note="", details={IO_SCALES: {"x": 0.5}})
    children.measure(of(1, FOREIGN), build=built)
    (asked,) = children.asked
    assert (asked.build, asked.series, asked.profile_path, asked.histogram_path) == (None, None, None, None)
    assert asked.is_verified
    assert asked.inputs_path == children.folder / "inputs.npz"
    assert asked.io_scales == {"x": 0.5}
    assert asked.benchmark == BenchmarkSpec()


def test_samples_that_a_child_did_not_leave_cost_no_attempt(children: Children) -> None:
    children.answers = [(of(1),)]
    request = children.request()
    result = AttemptResult(measurements=(of(1, FOREIGN),))
    kept, (disturbed,) = measure_again(request, result, times=1, is_cpu=False, run=children.run)
    assert kept.measurements == (of(1),)
    assert disturbed.samples_path is None


def test_a_link_in_the_place_of_samples_is_not_followed(children: Children) -> None:
    children.answers = [(of(1, FOREIGN),)]
    secret = children.folder / "secret.npz"
    np.savez(secret, **{samples_name(of(1)): np.zeros(1)})
    before = secret.read_bytes()
    (children.folder / "samples.npz").symlink_to(secret)
    result = AttemptResult(measurements=(of(1, FOREIGN), of(8)))
    _, disturbed = measure_again(children.request(), result, times=1, is_cpu=False, run=children.run)
    assert secret.read_bytes() == before
    assert not (children.folder / "samples.npz").exists()
    assert disturbed[0].samples_path is None


@given(data=st.data())
def test_every_measurement_of_every_child_is_kept_once(data: st.DataObject, tmp_path_factory: Any) -> None:
    drawn = st.lists(st.sampled_from([FOREIGN, "drift: x"]), max_size=2)
    median = iter(range(1, 100))

    def answer() -> tuple[Measurement, ...]:
        return tuple(of(batch, *data.draw(drawn), median=float(next(median))) for batch in (1, 8))

    children = Children(tmp_path_factory.mktemp("again"), [answer() for _ in range(3)])
    first, made = answer(), []

    def run(request: AttemptRequest, why: str) -> AttemptResult | None:
        found = children.run(request, why)
        assert found is not None
        made.extend(found.measurements)
        return found

    children.leave(children.request(), first)
    result, disturbed = measure_again(
        children.request(), AttemptResult(measurements=first), times=3, is_cpu=False, run=run
    )
    everything = [*result.measurements, *(m for run in disturbed for m in run.measurements)]
    assert sorted(m.throughput_per_s for m in everything) == sorted(
        m.throughput_per_s for m in (*first, *made)
    )
    assert [m.batch for m in result.measurements] == [1, 8]
    for kept in result.measurements:
        of_batch = [m for m in everything if m.batch == kept.batch]
        assert bool(kept.taints) == all(m.taints for m in of_batch)
    assert children.kept_samples() == {samples_name(m): m.throughput_per_s for m in result.measurements}
