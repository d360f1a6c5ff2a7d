"""The conditions of a measurement in a few words."""

from __future__ import annotations

from typing import Any

import pytest

from cli.conditions_text import conditions_text


def spread(low: float, high: float) -> dict[str, float]:
    return {"min": low, "p5": low, "median": high, "p95": high, "max": high}


@pytest.mark.parametrize(
    ("conditions", "text"),
    [
        ({}, "–"),
        ({"sm_clock_mhz": spread(1980, 1980), "temperature_c": spread(41, 43)}, "SM 1980 MHz, 41–43 °C"),
        ({"power_w": spread(312.4, 312.4), "energy_per_inference_j": 0.01234}, "312 W, 0.0123 J/inference"),
        ({"load": 8.65, "run_delay_share": 0.785, "quota_share": 0.0}, "load 8.7, waited for a CPU 78 %"),
        ({"cpu_clock_mhz": spread(2400, 2400), "load": 0.0}, "CPU 2400 MHz, load 0.0"),
        ({"samples": 4, "foreign": [{"pid": 1}], "reasons": {"SwPowerCap": 1.0}}, "–"),
    ],
)
def test_conditions_are_told_with_their_units(conditions: dict[str, Any], text: str) -> None:
    assert conditions_text(conditions) == text
