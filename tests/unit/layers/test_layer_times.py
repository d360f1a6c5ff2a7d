"""Times by layer: what is kept, what follows from it, and how it looks as a Chrome trace."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from farm.domain.chrome_trace import chrome_trace
from farm.domain.errors import CorruptArtifactError
from farm.domain.layer_times import LayerEvent, LayerProfile, profiles_as_json, profiles_from_json

#: The part of the Trace Event Format that viewers insist on.
TRACE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["traceEvents"],
    "properties": {
        "displayTimeUnit": {"enum": ["ms", "ns"]},
        "traceEvents": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "ph", "pid", "tid"],
                "properties": {
                    "name": {"type": "string"},
                    "ph": {"enum": ["X", "M"]},
                    "pid": {"type": "integer"},
                    "tid": {"type": "integer"},
                    "args": {"type": "object"},
                },
                "if": {"properties": {"ph": {"const": "X"}}},
                "then": {
                    "required": ["ts", "dur", "cat"],
                    "properties": {
                        "ts": {"type": "number", "minimum": 0},
                        "dur": {"type": "number", "minimum": 0},
                    },
                },
                "else": {
                    "properties": {
                        "name": {"enum": ["process_name", "thread_name"]},
                        "args": {"required": ["name"]},
                    }
                },
            },
        },
    },
}


def a_profile(*iterations: dict[str, float], starts: bool = False, batch: int = 8) -> LayerProfile:
    """Layers by name with their times, iteration after iteration."""
    return LayerProfile(
        batch,
        {"x": (batch, 3)},
        "IProfiler",
        tuple(
            tuple(
                LayerEvent(name, "Conv", 2.0 * place if starts else -1.0, ms)
                for place, (name, ms) in enumerate(layers.items())
            )
            for layers in iterations
        ),
    )


def test_a_layer_has_its_median_its_share_and_how_often_it_ran() -> None:
    conv, relu = a_profile(
        {"conv": 3.0, "relu": 1.0}, {"conv": 5.0, "relu": 1.0}, {"conv": 3.0, "relu": 9.0}
    ).layers()
    assert (conv.median_ms, conv.p90_ms, conv.count, conv.share) == (3.0, None, 3, 0.75)
    assert (relu.median_ms, relu.count, relu.share) == (1.0, 3, 0.25)


def test_a_layer_that_runs_twice_in_an_iteration_takes_the_time_of_both() -> None:
    event = LayerEvent("body", "", -1.0, 0.5)
    (layer,) = LayerProfile(1, {}, "IProfiler", ((event, event), (event, event))).layers()
    assert (layer.median_ms, layer.count) == (1.0, 2)


def test_the_whole_is_the_median_of_the_iterations_sums() -> None:
    assert a_profile({"a": 1.0, "b": 1.0}, {"a": 2.0, "b": 2.0}, {"a": 9.0, "b": 9.0}).total_ms == 4.0


def test_a_profile_reads_back_as_it_was_written() -> None:
    profiles = [
        a_profile({"conv": 3.0}, {"conv": 5.0, "relu": 1.0}),
        a_profile({"conv": 0.1}, starts=True, batch=1),
    ]
    assert profiles_from_json(json.loads(json.dumps(profiles_as_json(profiles)))) == profiles


@pytest.mark.parametrize(
    "document", [None, [], {}, {"version": 2, "profiles": []}, {"version": 1, "profiles": [{"batch": 1}]}]
)
def test_what_is_no_profile_is_refused(document: object) -> None:
    with pytest.raises(CorruptArtifactError):
        profiles_from_json(document)


@pytest.mark.parametrize("starts", [False, True], ids=["laid end to end", "with starts"])
def test_the_chrome_trace_is_one(starts: bool) -> None:
    profiles = [
        a_profile({"a": 1.0, "b": 0.5}, {"a": 1.0, "b": 0.5}, starts=starts),
        a_profile({"a": 2.0}, batch=1),
    ]
    trace = json.loads(json.dumps(chrome_trace(profiles, "engine 1")))
    jsonschema.validate(trace, TRACE_SCHEMA)
    complete = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert len(complete) == 5 + 3
    assert {event["pid"] for event in complete} == {1, 2}


def test_layers_lie_within_their_iteration_and_iterations_do_not_overlap() -> None:
    trace = chrome_trace([a_profile({"a": 1.0, "b": 0.5}, {"a": 1.5, "b": 0.5})], "engine 1")["traceEvents"]
    spans = {
        event["name"] + str(event["args"].get("iteration", "")): (event["ts"], event["ts"] + event["dur"])
        for event in trace
        if event["ph"] == "X"
    }
    assert spans["a0"] == (0.0, 1000.0)
    assert spans["b0"] == (1000.0, 1500.0)
    assert spans["iteration 0"] == (0.0, 1500.0)
    assert spans["iteration 1"][0] > 1500.0
    assert spans["iteration 1"][0] == spans["a1"][0]


def test_where_starts_are_known_they_are_kept() -> None:
    trace = chrome_trace([a_profile({"a": 1.0, "b": 0.5}, starts=True)], "engine 1")["traceEvents"]
    assert [event["ts"] for event in trace if event["ph"] == "X" and event["cat"] == "layer"] == [0.0, 2000.0]
