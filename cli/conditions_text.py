"""What a device and its host were like during a measurement, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.render import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
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
    """`SM 1980 MHz, memory 3201 MHz, 41 °C, 312 W`; a range from least to largest where it moved."""
    words = [
        " ".join(filter(None, (name, f"{_range(conditions[key])} {unit}")))
        for key, name, unit in _SPREADS
        if isinstance(conditions.get(key), dict)
    ]
    words += [text for key, text in _single(conditions) if conditions.get(key) is not None]
    return ", ".join(words) or NONE


def _single(conditions: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "energy_per_inference_j", f"{conditions.get('energy_per_inference_j') or 0:.3g} J/inference"
    yield "load", f"load {conditions.get('load') or 0:.1f}"
    # Of the time in which its threads could have run.
    yield "run_delay_share", f"waited for a CPU {100 * (conditions.get('run_delay_share') or 0):.0f} %"


def _range(spread: Mapping[str, float]) -> str:
    low, high = f"{spread['min']:.0f}", f"{spread['max']:.0f}"
    return low if low == high else f"{low}–{high}"
