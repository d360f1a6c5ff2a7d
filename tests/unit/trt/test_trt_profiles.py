"""Optimization profiles of TensorRT: shapes, and the values of inputs that hold a shape, without TensorRT."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.shapes import ShapeRange
from tests.unit.trt.surface import Config, log_for, surface
from workers.toolchains.trt_profiles import add_profiles


class Profile:
    def __init__(self, *, forgets: bool = False, bad: bool = False) -> None:
        self.shapes: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.forgets, self.bad = forgets, bad

    def set_shape(self, name: str, low: Any, mid: Any, high: Any) -> None:
        self.shapes[name] = [low, mid, low if self.forgets else high]

    def get_shape(self, name: str) -> Any:
        return self.shapes[name]

    def set_shape_input(self, name: str, low: Any, mid: Any, high: Any) -> None:
        self.values[name] = [low, mid, low if self.forgets else high]

    def get_shape_input(self, name: str) -> Any:
        return [list(value) for value in self.values[name]]


def network_of(*inputs: Any) -> Any:
    return SimpleNamespace(num_inputs=len(inputs), get_input=lambda index: inputs[index])


def network_input(name: str, *shape: int, is_shape_tensor: bool = False) -> Any:
    return SimpleNamespace(name=name, shape=shape, is_shape_tensor=is_shape_tensor)


def added(network: Any, *profiles: dict[str, ShapeRange], made: Profile | None = None) -> list[Profile]:
    config = Config()
    builder = SimpleNamespace(create_optimization_profile=lambda: made or Profile())
    add_profiles(builder, config, network, profiles, log_for(surface("8.6.0")))
    return config.profiles


X, SIZE = network_input("x", -1, 4), network_input("size", 2, is_shape_tensor=True)
SPAN = ShapeRange((1, 4), (2, 4), (8, 4))
HELD = ShapeRange((1, 8), (4, 16), (8, 32))


@pytest.mark.parametrize(
    ("network", "profiles", "complaint"),
    [
        (network_of(X), [], "no optimization profile covers it"),
        (network_of(X, network_input("z", -1)), [{"x": SPAN}], "input 'z' is dynamic"),
        (network_of(X), [{"x": SPAN}, {}], "no optimization profile covers it"),
        (network_of(X), [{"y": SPAN}], "no input 'y'"),
        (network_of(network_input("x", -1, 5)), [{"x": SPAN}], "does not fit input 'x' of shape -1x5"),
        (network_of(SIZE), [], "'size' holds a shape: the builder needs the values"),
        (network_of(X, SIZE), [{"x": SPAN}], "'size' holds a shape: the builder needs the values"),
        (network_of(SIZE), [{"size": ShapeRange((1,), (1,), (1,))}], r"is 1 value\(s\)"),
        (network_of(network_input("ids", 2)), [{"ids": HELD}], "is static and feeds no shape"),
        (network_of(network_input("s", -1, is_shape_tensor=True)), [{"s": HELD}], "how many sizes it holds"),
    ],
)
def test_what_does_not_cover_the_inputs_is_refused(network: Any, profiles: Any, complaint: str) -> None:
    with pytest.raises(InvalidSpecError, match=complaint):
        added(network, *profiles)


def test_an_input_that_needs_values_is_told_which_options_give_them() -> None:
    with pytest.raises(InvalidSpecError) as caught:
        added(network_of(X, SIZE), {"x": SPAN})
    assert "--opt-shapes and --max-shapes size:…, 2 value(s) joined by x" in caught.value.hint


def test_shapes_and_values_go_where_tensorrt_wants_them() -> None:
    (profile,) = added(network_of(X, SIZE), {"x": SPAN, "size": HELD})
    assert profile.shapes == {"x": [(1, 4), (2, 4), (8, 4)]}
    assert profile.values == {"size": [(1, 8), (4, 16), (8, 32)]}


def test_several_profiles_are_added_in_their_order() -> None:
    other = ShapeRange((16, 4), (16, 4), (32, 4))
    first, second = added(network_of(X), {"x": SPAN}, {"x": other})
    assert first.shapes["x"][1] == (2, 4)
    assert second.shapes["x"][1] == (16, 4)


@pytest.mark.parametrize("profile", [Profile(bad=True), Profile(forgets=True)])
@pytest.mark.parametrize(("tensor", "span"), [(X, SPAN), (SIZE, HELD)])
def test_a_profile_that_tensorrt_quietly_refuses_is_told(
    profile: Profile, tensor: Any, span: ShapeRange
) -> None:
    with pytest.raises(InvalidSpecError, match="refuses the"):
        added(network_of(tensor), {tensor.name: span}, made=profile)


def test_static_models_need_no_profile() -> None:
    assert added(network_of(network_input("x", 1, 4))) == []
