"""What an engine took until its first answer, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.render import size

if TYPE_CHECKING:
    from collections.abc import Mapping


def startup_lines(startup: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each with its heading: the time step by step, then memory. Empty where nothing was seen."""
    if not startup:
        return []
    steps = ", ".join(f"{step['step']} {_ms(step['seconds'])}" for step in startup["steps"])
    where = "a fresh process" if startup["fresh_process"] else "the process that had just built it"
    lines = [
        (
            "first answer",
            f"after {_ms(startup['seconds'])} at batch {startup['batch']} in {where}: {steps}",
        )
    ]
    device = [
        f"{word} {size(startup[name])}"
        for name, word in (("engine_bytes", "engine"), ("context_bytes", "context"))
        if name in startup
    ]
    last = startup["steps"][-1]
    if "device_used_bytes" in last:
        device.append(f"{size(last['device_used_bytes'])} in use after the first answer, by whomever")
    if device:
        lines.append(("on the device", ", ".join(device)))
    peaks = startup.get("host_peak_bytes", {})
    if peaks:
        lines.append(
            (
                "on the host",
                "peak " + ", ".join(f"{size(peak)} of the {phase}" for phase, peak in peaks.items()),
            )
        )
    return lines


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
