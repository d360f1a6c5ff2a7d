"""ONNX Runtime's trace is read into the nodes of every run."""

from __future__ import annotations

from typing import Any

from farm.domain.layer_times import LayerEvent
from workers.toolchains.onnxruntime_profiling import read_events


def a_run(ts: int, dur: int) -> dict[str, Any]:
    return {
        "cat": "Session",
        "name": "SequentialExecutor::Execute",
        "ts": ts,
        "dur": dur,
        "ph": "X",
        "args": {},
    }


def a_node(name: str, ts: int, dur: int, event: str = "_kernel_time") -> dict[str, Any]:
    return {"cat": "Node", "name": name + event, "ts": ts, "dur": dur, "ph": "X", "args": {"op_name": "Conv"}}


def test_nodes_are_sorted_into_their_runs_with_starts_relative_to_them() -> None:
    events = [
        {"cat": "Session", "name": "session_initialization", "ts": 0, "dur": 90, "ph": "X", "args": {}},
        a_node("conv", 110, 30),
        a_node("relu", 145, 4),
        a_run(100, 60),
        a_node("conv", 210, 20),
        a_node("relu", 235, 5),
        a_run(200, 50),
    ]
    assert read_events(events) == [
        (LayerEvent("conv", "Conv", 0.01, 0.03), LayerEvent("relu", "Conv", 0.045, 0.004)),
        (LayerEvent("conv", "Conv", 0.01, 0.02), LayerEvent("relu", "Conv", 0.035, 0.005)),
    ]


def test_events_of_fences_and_outside_of_runs_do_not_count() -> None:
    events = [
        a_node("early", 50, 10),
        a_run(100, 60),
        a_node("conv", 105, 1, "_fence_before"),
        a_node("conv", 110, 30),
        a_node("late", 170, 10),
    ]
    assert read_events(events) == [(LayerEvent("conv", "Conv", 0.01, 0.03),)]
