"""Profiles of layers as a Chrome trace, for chrome://tracing and https://ui.perfetto.dev.

The format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU ("Trace Event Format",
JSON Object Format). Every event is complete (`ph: X`); times are in microseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

if TYPE_CHECKING:
    from farm.domain.layer_times import LayerProfile

#: Between two iterations, so that they can be told apart.
_GAP_US = 10.0
_PROCESS = 1
_ITERATIONS, _LAYERS = 1, 2


def chrome_trace(profiles: Sequence[LayerProfile], title: str) -> dict[str, Any]:
    """The trace of some profiles, one process for each: a row of iterations, and below it their layers.

    Where a profiler tells no starts, layers are laid end to end: gaps between them do not show.
    """
    events: list[dict[str, Any]] = []
    for process, profile in enumerate(profiles, _PROCESS):
        events += [
            _name("process_name", process, 0, f"{title}, batch {profile.batch} ({profile.profiler})"),
            _name("thread_name", process, _ITERATIONS, "iterations"),
            _name("thread_name", process, _LAYERS, "layers"),
        ]
        begin_us = 0.0
        for number, layers in enumerate(profile.iterations):
            end_us = begin_us
            for layer in layers:
                start_us = end_us if layer.start_ms < 0 else begin_us + 1000 * layer.start_ms
                duration_us = 1000 * layer.time_ms
                arguments = {"iteration": number, **({"type": layer.type} if layer.type else {})}
                events.append(_complete(layer.name, process, _LAYERS, start_us, duration_us, arguments))
                end_us = max(end_us, start_us + duration_us)
            name = f"iteration {number}"
            events.append(_complete(name, process, _ITERATIONS, begin_us, end_us - begin_us, {}))
            begin_us = end_us + _GAP_US
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _complete(
    name: str, process: int, thread: int, start_us: float, duration_us: float, arguments: dict[str, Any]
) -> dict[str, Any]:
    return {
        "name": name,
        "cat": "iteration" if thread == _ITERATIONS else "layer",
        "ph": "X",
        "ts": round(start_us, 3),
        "dur": round(duration_us, 3),
        "pid": process,
        "tid": thread,
        "args": arguments,
    }


def _name(what: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
