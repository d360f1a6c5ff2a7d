"""What taints a measurement, by stated rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain import taints
from farm.domain.taints import in_words, kind_of, passing_taints, taints_of
from tests.factories import a_measurement
from workers.nvml_samples import REASONS, THROTTLING


def spread(low: float, high: float) -> dict[str, float]:
    return {"min": low, "p5": low, "median": (low + high) / 2, "p95": high, "max": high}


def kinds(conditions: dict[str, Any], **options: Any) -> set[str]:
    return {kind_of(taint) for taint in taints_of(conditions, **options)}


def test_where_nobody_looked_nothing_is_tainted() -> None:
    assert taints_of({}) == ()


def test_every_kind_has_a_sentence_and_every_throttling_reason_a_kind() -> None:
    every = {
        taints.POWER,
        taints.THERMAL,
        taints.BRAKE,
        taints.FOREIGN,
        taints.CLOCKS,
        taints.ECC,
        taints.STARVED,
    }
    assert every | {"unsettled", "drift"} == set(taints.SENTENCES)
    assert set(taints.SLOWDOWNS) == set(THROTTLING)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("SwPowerCap", taints.POWER),
        ("HwPowerBrakeSlowdown", taints.POWER),
        ("SwThermalSlowdown", taints.THERMAL),
        ("HwThermalSlowdown", taints.THERMAL),
        ("HwSlowdown", taints.BRAKE),
    ],
)
def test_slowdowns_for_power_heat_and_by_the_board_taint(reason: str, kind: str) -> None:
    assert taints_of({"reasons": {reason: 0.34, "GpuIdle": 1.0}}) == (f"{kind}: {reason} in 34 % of samples",)


@given(st.dictionaries(st.sampled_from(sorted(set(REASONS) - set(THROTTLING))), st.floats(0, 1)))
def test_no_other_reason_does(reasons: dict[str, float]) -> None:
    assert taints_of({"reasons": reasons}) == ()


@pytest.mark.parametrize(("share", "is_tainted"), [(0.05, False), (0.051, True)])
def test_a_power_cap_of_a_moment_is_not_felt(share: float, is_tainted: bool) -> None:
    assert bool(taints_of({"reasons": {"SwPowerCap": share}})) is is_tainted


def test_a_foreign_process_taints_and_is_named() -> None:
    process = {"pid": 7, "name": "python", "kind": "compute", "share": 0.1}
    assert taints_of({"foreign": [process]}) == ("foreign process: python (7)",)
    assert taints_of({"foreign": [{**process, "name": "", "kind": "graphics"}]}) == (
        "foreign process: unknown (7)",
    )


def test_a_displays_own_server_does_not() -> None:
    assert taints_of({"foreign": [{"pid": 7, "name": "Xorg", "is_display": True}]}) == ()
    assert taints_of({"foreign": []}) == ()


@pytest.mark.parametrize("clock", ["sm_clock_mhz", "memory_clock_mhz"])
def test_clocks_that_moved_by_more_than_two_percent_taint(clock: str) -> None:
    assert kinds({"samples": 20, clock: spread(1940, 1980)}) == {taints.CLOCKS}
    assert kinds({"samples": 20, clock: spread(1950, 1980)}) == set()
    assert kinds({"samples": 2, clock: spread(300, 1980)}) == set()


def test_what_moved_is_told() -> None:
    conditions = {"samples": 9, "sm_clock_mhz": spread(1500, 1980), "memory_clock_mhz": spread(3201, 3201)}
    assert taints_of(conditions) == ("clocks moved: SM 1500 to 1980 MHz",)


def test_errors_of_memory_taint() -> None:
    assert taints_of({"ecc_errors": 2.0}) == ("ECC errors: 2",)
    assert taints_of({"ecc_errors": 0.0}) == ()


@pytest.mark.parametrize(("is_cpu", "limit"), [(False, 0.1), (True, 0.25)])
def test_a_host_without_cpu_time_taints(is_cpu: bool, limit: float) -> None:
    for name in ("run_delay_share", "quota_share"):
        assert kinds({name: limit + 0.01}, is_cpu=is_cpu) == {taints.STARVED}
        assert kinds({name: limit}, is_cpu=is_cpu) == set()


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "samples": st.integers(0, 100),
            "reasons": st.dictionaries(st.sampled_from(sorted(REASONS)), st.floats(0, 1)),
            "sm_clock_mhz": st.tuples(st.floats(0, 3000), st.floats(0, 3000)).map(
                lambda p: spread(*sorted(p))
            ),
            "ecc_errors": st.floats(0, 9),
            "run_delay_share": st.floats(0, 1),
            "quota_share": st.floats(0, 1),
        },
    ),
    st.booleans(),
)
def test_taints_are_in_a_fixed_order_each_kind_once_and_told_in_words(
    conditions: dict[str, Any], is_cpu: bool
) -> None:
    found = [kind_of(taint) for taint in taints_of(conditions, is_cpu=is_cpu)]
    assert found == [kind for kind in taints.SENTENCES if kind in found]
    assert in_words(found).count(";") == max(len(found) - 1, 0)


def test_words_are_those_for_people_each_once() -> None:
    assert in_words(["foreign process: a (1)", "foreign process: b (2)", "unsettled: ±1 %", "new: x"]) == (
        "a foreign process was on the device; its times did not settle; new"
    )


def test_a_power_cap_that_holds_all_the_time_does_not_pass_and_its_clocks_move_with_it() -> None:
    told = ("power slowdown: x", "clocks moved: y", "foreign process: z")
    capped = replace(a_measurement(), taints=told, conditions={"reasons": {"SwPowerCap": 0.95}})
    assert passing_taints(capped) == ("foreign process: z",)
    assert passing_taints(replace(capped, conditions={"reasons": {"SwPowerCap": 0.5}})) == told


def test_on_a_cpu_times_that_do_not_settle_do_not_pass() -> None:
    measured = replace(a_measurement(), taints=("unsettled: x", "drift: y", "CPU starved: z"))
    assert passing_taints(measured, is_cpu=True) == ("CPU starved: z",)
    assert passing_taints(measured) == measured.taints
