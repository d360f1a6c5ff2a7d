"""What makes a measurement one that is not comparable with its neighbours, by stated rules.

The child that measures says `unsettled` and `drift` itself; the rest is read off the conditions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Collection, Mapping

if TYPE_CHECKING:
    from farm.domain.benchmarks import Measurement

POWER = "power slowdown"
THERMAL = "thermal slowdown"
BRAKE = "hardware slowdown"
FOREIGN = "foreign process"
CLOCKS = "clocks moved"
ECC = "ECC errors"
STARVED = "CPU starved"

#: What people are told, as a sentence.
SENTENCES = {
    POWER: "the device was slowed down for its power",
    THERMAL: "the device was slowed down for its heat",
    BRAKE: "the board's own brakes slowed the device down",
    FOREIGN: "a foreign process was on the device",
    CLOCKS: "the device's clocks moved",
    ECC: "the device's memory had ECC errors",
    STARVED: "the host had too little CPU time for it",
    "unsettled": "its times did not settle",
    "drift": "its times drifted",
}
#: Clock-event reasons (`nvml.h`, nvmlClocksEventReasons) that slow a device down, and what for.
SLOWDOWNS = {
    "SwPowerCap": POWER,
    "HwPowerBrakeSlowdown": POWER,
    "SwThermalSlowdown": THERMAL,
    "HwThermalSlowdown": THERMAL,
    "HwSlowdown": BRAKE,
}
#: A power cap that holds in fewer samples than this slows so few iterations that the median does not feel it.
#: Hardware slowdowns halve the clocks or more (`nvml.h`), and heat stays: one sample of these is one too many.
POWER_SHARE = 0.05
#: From this share on a power cap is no incident but how the device runs that load: measuring again finds the same.
STEADY_SHARE = 0.9
#: Between the 5th and the 95th percentile of a clock, in percent of its median. NVIDIA's GPUs step by 15 MHz:
#: two steps of an H200 at 1,980 MHz are 1.5 %, and a figure is to be good to half a percent.
MOVED_PERCENT = 2.0
#: From so few samples nothing is said about clocks.
FEWEST_SAMPLES = 3
#: Threads that wait for a CPU for a tenth of the time that they want one launch a ninth later than they could.
STARVED_SHARE = 0.1
#: Where the CPU is the device: on a host of two cores the worker itself and what shows progress take up to a fifth.
STARVED_SHARE_ON_CPU = 0.25


def taints_of(conditions: Mapping[str, Any], *, is_cpu: bool = False) -> tuple[str, ...]:
    """What the conditions of a measurement taint it with, such as `foreign process: python (4711)`.

    Args:
        conditions: as `conditions_of` makes them.
        is_cpu: whether the device is the host's CPU.

    Returns:
        Nothing where nobody looked.
    """
    said = {
        **_slowed(conditions),
        FOREIGN: _foreign(conditions),
        CLOCKS: _moved(conditions),
        ECC: f"{conditions['ecc_errors']:.0f}" if conditions.get("ecc_errors", 0) > 0 else "",
        STARVED: _starved(conditions, STARVED_SHARE_ON_CPU if is_cpu else STARVED_SHARE),
    }
    return tuple(f"{kind}: {said[kind]}" for kind in SENTENCES if said.get(kind))


def kind_of(taint: str) -> str:
    """What sort of taint it is: `foreign process`."""
    return taint.partition(":")[0]


def passing_taints(measurement: Measurement, *, is_cpu: bool = False) -> tuple[str, ...]:
    """The taints of a measurement that may be gone when it is made again.

    A power cap that holds nearly all the time stays. On a CPU times that do not settle are the host's other
    work, which goes on.
    """
    lasting = {"unsettled", "drift"} if is_cpu else set()
    reasons = measurement.conditions.get("reasons", {})
    if reasons.get("SwPowerCap", 0) >= STEADY_SHARE:
        # Its clocks move with the power then, too.
        lasting |= {POWER, CLOCKS}
    return tuple(taint for taint in measurement.taints if kind_of(taint) not in lasting)


def in_words(taints: Collection[str]) -> str:
    """Taints for people, each kind once: `a foreign process was on the device`."""
    kinds = {kind_of(taint) for taint in taints}
    known = [sentence for kind, sentence in SENTENCES.items() if kind in kinds]
    return "; ".join([*known, *sorted(kinds - SENTENCES.keys())])


def _slowed(conditions: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for reason, share in conditions.get("reasons", {}).items():
        if reason in SLOWDOWNS and share > (POWER_SHARE if reason == "SwPowerCap" else 0):
            found.setdefault(SLOWDOWNS[reason], []).append(f"{reason} in {100 * share:.0f} % of samples")
    return {kind: ", ".join(words) for kind, words in found.items()}


def _foreign(conditions: Mapping[str, Any]) -> str:
    found = [process for process in conditions.get("foreign", ()) if not process.get("is_display")]
    return ", ".join(f"{process['name'] or 'unknown'} ({process['pid']})" for process in found)


def _moved(conditions: Mapping[str, Any]) -> str:
    found = []
    for clock, name in (("sm_clock_mhz", "SM"), ("memory_clock_mhz", "memory")):
        spread = conditions.get(clock)
        if (
            spread
            and conditions.get("samples", 0) >= FEWEST_SAMPLES
            and 100 * (spread["p95"] - spread["p5"]) > MOVED_PERCENT * spread["median"]
        ):
            found.append(f"{name} {spread['p5']:.0f} to {spread['p95']:.0f} MHz")
    return ", ".join(found)


def _starved(conditions: Mapping[str, Any], limit: float) -> str:
    waited, stopped = conditions.get("run_delay_share", 0), conditions.get("quota_share", 0)
    if max(waited, stopped) <= limit:
        return ""
    if stopped > waited:
        return f"its control group was stopped for its quota, {100 * stopped:.0f} % of the time"
    return f"its threads waited for a CPU in {100 * waited:.0f} % of the time that they wanted one"
