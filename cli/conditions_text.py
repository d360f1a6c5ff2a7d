"""What a device and its host were like during a measurement, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.render import NONE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

#: What is told, in what words and unit; `farm.domain.conditions` has the names.
_SPREADS = (
    ("sm_clock_mhz", "SM", "MHz"),
    ("memory_clock_mhz", "memory", "MHz"),
    ("temperature_c", "", "°C"),
    ("power_w", "", "W"),
    ("cpu_clock_mhz", "CPU", "MHz"),
)


def conditions_text(conditions: Mapping[str, Any]) -> str:
    """`SM 1980 MHz, memory 3201 MHz, 41 °C, 312 W`; a range from least to largest where a clock moved."""
    words = [
        " ".join(filter(None, (name, f"{_range(conditions[key])} {unit}")))
        for key, name, unit in _SPREADS
        if isinstance(conditions.get(key), dict)
    ]
    energy = conditions.get("energy_per_inference_j")
    if energy is not None:
        words.append(f"{energy:.3g} J/inference")
    return ", ".join(words) or NONE


def _range(spread: Mapping[str, float]) -> str:
    low, high = f"{spread['min']:.0f}", f"{spread['max']:.0f}"
    return low if low == high else f"{low}–{high}"
