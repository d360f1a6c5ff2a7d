"""Layer by layer: which layer's error jumps first, and which adds most."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farm.domain.layerwise import (
    NOT_FINITE,
    LayerDeviation,
    adds_most,
    first_jump,
    layerwise_summary,
    layerwise_words,
    rounding_of,
)


def layer(name: str, error: float, *inputs: str, **changes: Any) -> LayerDeviation:
    return LayerDeviation(
        name, f"node-{name}", "Conv", inputs, error, max_abs_error=error, snr_db=60.0, **changes
    )


def named(errors: dict[str, float]) -> list[LayerDeviation]:
    """A chain of layers."""
    names = list(errors)
    return [layer(name, errors[name], *names[at - 1 : at] if at else ()) for at, name in enumerate(names)]


def test_the_first_layer_that_is_ten_times_worse_than_its_inputs_jumps() -> None:
    found = first_jump(named({"a": 1e-3, "b": 2e-3, "c": 0.5, "d": 0.6, "e": 7.0}), "fp16")
    assert found is not None
    assert (found.layer.tensor, found.before) == ("c", 2e-3)
    assert str(found) == "node-c (Conv, tensor c): relative error 0.5 after 0.002 in its inputs"


def test_what_grows_from_layer_to_layer_does_not_jump() -> None:
    layers = named({"a": 1e-3, "b": 3e-3, "c": 9e-3, "d": 3e-2})
    assert first_jump(layers, "fp16") is None
    assert "no layer of 4 stands out" in layerwise_words(layerwise_summary(layers, "fp16"))


@pytest.mark.parametrize(
    ("precision", "error", "jumps"),
    [
        ("fp32", 1e-3, True),
        ("fp16", 1e-3, False),
        ("fp16", 0.2, True),
        ("int8", 0.2, False),
        ("int8+fp16", 0.2, False),
        ("int8", 0.5, True),
    ],
)
def test_what_rounding_explains_is_no_jump_of_the_first_layer(
    precision: str, error: float, jumps: bool
) -> None:
    assert (first_jump([layer("a", error)], precision) is not None) is jumps


def test_of_several_inputs_the_worst_counts() -> None:
    layers = [layer("a", 1e-3), layer("b", 0.2), layer("sum", 0.21, "a", "b")]
    assert first_jump(layers[:1] + layers[2:], "fp16") is not None
    found = first_jump(layers, "fp16")
    assert found is not None
    assert found.layer.tensor == "b"


def test_the_first_layer_that_gives_nan_jumps_and_those_behind_it_do_not() -> None:
    layers = [
        layer("a", 1e-3),
        layer("b", NOT_FINITE, "a", non_finite=7),
        layer("c", NOT_FINITE, "b", non_finite=9),
    ]
    found = first_jump(layers, "fp16")
    assert found is not None
    assert "node-b" in str(found)
    assert "7 values are NaN or infinite" in str(found)
    assert first_jump(layers[2:], "fp16") is not None


def test_the_layer_that_adds_most_is_told_too() -> None:
    found = adds_most(named({"a": 0.01, "b": 0.05, "c": 0.06}))
    assert found is not None
    assert found.layer.tensor == "b"
    assert adds_most([]) is None


@pytest.mark.parametrize(
    "precision", ["fp32", "tf32", "fp16", "bf16", "int8", "fp8", "int8+fp16", "best", "other"]
)
def test_every_precision_has_a_rounding_of_its_own(precision: str) -> None:
    assert 0 < rounding_of(precision) <= 0.1
    assert rounding_of("int8+fp16") == rounding_of("int8")


def test_a_summary_survives_json_and_is_told_in_a_line() -> None:
    layers = named({"a": 1e-3, "b": 0.5})
    document = json.loads(
        json.dumps(layerwise_summary(layers, "fp16", ["x to y could not be compared: why"]))
    )
    words = layerwise_words(document)
    assert words.startswith("the error jumps first at node-b (Conv, tensor b)")
    assert "2 layers compared" in words
    assert words.endswith("x to y could not be compared: why")
    assert LayerDeviation.from_json(json.loads(json.dumps(layers[1].as_json()))) == layers[1]
