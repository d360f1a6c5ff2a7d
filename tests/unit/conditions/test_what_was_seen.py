"""Samples cut to the window of a measurement."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.conditions import (
    DeviceProcess,
    DeviceSample,
    HostSample,
    Watched,
    conditions_of,
    foreign_processes,
)

OWN, STRANGER = DeviceProcess(1, "python", is_own=True), DeviceProcess(2, "game")


def looks(count: int, gap_s: float = 0.05, **changes: Any) -> list[DeviceSample]:
    """Samples from 0 s on; a change may depend on the sample's number."""
    return [
        DeviceSample(
            at=number * gap_s,
            **{name: value(number) if callable(value) else value for name, value in changes.items()},
        )
        for number in range(count)
    ]


def test_a_spread_is_of_the_samples_within_the_window_alone() -> None:
    clocks = looks(100, sm_clock_mhz=lambda number: 1980 if 20 <= number <= 60 else 300)
    found = conditions_of(Watched(clocks), (1.0, 3.0))
    assert found["samples"] == 41
    assert found["sm_clock_mhz"] == {"min": 1980, "p5": 1980, "median": 1980, "p95": 1980, "max": 1980}


def test_what_the_device_does_not_tell_is_absent() -> None:
    assert set(conditions_of(Watched(looks(9, temperature_c=40.0)), (0.0, 0.4))) == {
        "samples",
        "temperature_c",
    }
    assert conditions_of(Watched(), (0.0, 0.4)) == {}


def test_a_reason_has_its_share_of_the_samples_that_tell_reasons() -> None:
    seen = looks(10, reasons=lambda number: None if number < 2 else ("SwPowerCap",) if number < 4 else ())
    assert conditions_of(Watched(seen), (0.0, 1.0))["reasons"] == {"SwPowerCap": 0.25}


def test_energy_is_what_the_counter_grew_by_and_is_told_per_inference() -> None:
    # 400 W, by a counter that moves every 100 ms.
    seen = looks(100, energy_j=lambda number: 1000.0 + 40 * (number // 2))
    found = conditions_of(Watched(seen), (1.025, 2.275), inferences=100)
    assert found["energy_j"] == pytest.approx(400 * 1.25)
    assert found["energy_per_inference_j"] == pytest.approx(4.0 * 1.25)


@pytest.mark.parametrize(
    ("window", "is_slice"),
    [((1.0, 1.1), False), ((1.0, 6.0), False), ((-1.0, 1.0), False), ((1.0, 2.0), True)],
)
def test_energy_is_not_told_of_moments_of_what_was_not_seen_and_of_slices(
    window: tuple[float, float], is_slice: bool
) -> None:
    seen = looks(100, energy_j=lambda number: 20.0 * number)
    assert "energy_j" not in conditions_of(Watched(seen, is_slice=is_slice), window)


@given(
    begin=st.floats(0, 4),
    length=st.floats(0.25, 5),
    watts=st.floats(10, 1000),
    start=st.floats(0, 1e6),
)
def test_energy_of_constant_power_is_power_by_time(
    begin: float, length: float, watts: float, start: float
) -> None:
    seen = looks(200, energy_j=lambda number: start + watts * number * 0.05)
    found = conditions_of(Watched(seen), (begin, begin + length))
    assert math.isclose(found["energy_j"], watts * length, rel_tol=1e-4, abs_tol=1e-3)


@given(st.lists(st.floats(1, 3000), min_size=1, max_size=50))
def test_a_spread_is_in_order(clocks: list[float]) -> None:
    found = conditions_of(Watched(looks(len(clocks), sm_clock_mhz=clocks.__getitem__)), (0, 10))
    spread = list(found["sm_clock_mhz"].values())
    assert spread == sorted(spread)
    assert spread[0] == pytest.approx(min(clocks), rel=1e-5)
    assert spread[-1] == pytest.approx(max(clocks), rel=1e-5)


def test_errors_between_two_samples_count_for_the_window_between_them() -> None:
    seen = looks(10, ecc_errors=lambda number: 3.0 if number < 5 else 4.0)
    assert conditions_of(Watched(seen), (0.21, 0.24))["ecc_errors"] == 1
    assert conditions_of(Watched(seen), (0.31, 0.34))["ecc_errors"] == 0


def test_run_delay_is_the_share_of_the_time_that_threads_wanted_a_cpu() -> None:
    host = [HostSample(at=0.1 * n, ran_s=0.09 * n, waited_s=0.01 * n, throttled_s=0.0) for n in range(20)]
    found = conditions_of(Watched(host=host), (0.55, 1.45))
    assert found["run_delay_share"] == pytest.approx(0.1)
    assert found["quota_share"] == 0
    assert "samples" not in found


def test_threads_that_wanted_no_cpu_waited_for_none() -> None:
    host = [
        HostSample(at=float(n), ran_s=1.0, waited_s=0.0, load=0.5, cpu_clock_mhz=2600.0) for n in range(3)
    ]
    found = conditions_of(Watched(host=host), (0.0, 2.0))
    assert "run_delay_share" not in found
    assert (found["load"], found["cpu_clock_mhz"]["median"]) == (0.5, 2600)


def test_what_ended_early_is_noted() -> None:
    assert conditions_of(Watched(looks(3), notes=("NVML went",)), (0, 1))["notes"] == ["NVML went"]


def test_another_process_is_foreign_and_the_child_is_not() -> None:
    seen = looks(10, processes=lambda number: (OWN, STRANGER) if number < 5 else (OWN,))
    (found,) = foreign_processes(seen, (0.0, 0.45)) or []
    assert found == {"pid": 2, "name": "game", "kind": "compute", "share": 0.5}
    assert foreign_processes(seen, (0.3, 0.45)) == []


def test_a_displays_server_is_noted_as_one() -> None:
    server = DeviceProcess(3, "Xorg", is_graphics=True)
    (found,) = foreign_processes(looks(3, processes=(server, OWN)), (0, 1)) or []
    assert found["is_display"]
    assert found["kind"] == "graphics"


def test_where_processes_are_not_listed_nothing_is_claimed() -> None:
    assert foreign_processes(looks(3), (0, 1)) is None
    assert "foreign" not in conditions_of(Watched(looks(3)), (0, 1))


class TestInAContainerWhoseProcessNumbersAreNotTheHosts:
    """NVML gives the host's numbers, of which none is of the child's tree."""

    CHILD, BEFORE, LATER = DeviceProcess(70_001), DeviceProcess(70_000), DeviceProcess(70_002)

    def test_the_first_that_comes_is_the_child(self) -> None:
        seen = looks(10, processes=lambda number: (self.CHILD,) if number > 2 else ())
        assert foreign_processes(seen, (0.3, 0.45)) == []

    def test_who_was_there_before_it_is_foreign(self) -> None:
        seen = looks(10, processes=lambda n: (self.BEFORE, self.CHILD) if n > 2 else (self.BEFORE,))
        assert [p["pid"] for p in foreign_processes(seen, (0.3, 0.45)) or ()] == [70_000]

    def test_who_came_after_it_is_foreign(self) -> None:
        seen = looks(10, processes=lambda n: ((), (self.CHILD,), (self.CHILD, self.LATER))[min(n // 3, 2)])
        assert [p["pid"] for p in foreign_processes(seen, (0.35, 0.45)) or ()] == [70_002]


@given(st.sets(st.integers(10, 20)), st.integers(0, 9))
def test_every_stranger_of_a_window_is_found_and_nobody_else(pids: set[int], since: int) -> None:
    strangers = tuple(DeviceProcess(pid) for pid in pids)
    seen = looks(10, processes=lambda number: (OWN, *strangers) if number >= since else (OWN,))
    found = foreign_processes(seen, (0.0, 0.451)) or []
    assert {process["pid"] for process in found} == pids
    assert all(process["share"] == (10 - since) / 10 for process in found)
    earlier = [replace(sample, processes=(OWN,)) for sample in seen]
    assert foreign_processes(earlier, (0.0, 0.451)) == []
