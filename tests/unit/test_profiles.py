"""Profiles from what users write, and the shapes that a batch size means; every mistake is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.errors import InvalidSpecError
from farm.domain.profiles import profile_from_batches, profile_from_shapes, shapes_at_batch
from farm.domain.shapes import ShapeRange
from tests.factories import a_model, a_shape_range, a_tensor

if TYPE_CHECKING:
    from farm.domain.models import Model
    from farm.domain.shapes import Shape

SMALL, MIDDLE, LARGE = (1, 3, 8, 8), (8, 3, 8, 8), (16, 3, 8, 8)
#: A batch that stands still, and a sequence that does not.
TEXT_MODEL = a_model(inputs=(a_tensor("ids", (1, -1), "int64"),))
STATIC_MODEL = a_model(inputs=(a_tensor("input", (4, 3, 8, 8)),))
UNET = a_model(
    inputs=(a_tensor("sample", (2, 4, 64, 64)), a_tensor("timestep", (1,)), a_tensor("states", (2, 77, 768)))
)
TWO_INPUTS = a_model(inputs=(a_tensor("image"), a_tensor("mask", (-1, 8)), a_tensor("anchors", (77, 4))))


def from_shapes(
    model: Model,
    low: Shape | None = None,
    mid: Shape | None = None,
    high: Shape | None = None,
    name: str = "input",
) -> dict[str, ShapeRange]:
    return profile_from_shapes(model, *({} if shape is None else {name: shape} for shape in (low, mid, high)))


# Shapes.


def test_min_opt_and_max_make_a_profile() -> None:
    assert from_shapes(a_model(), SMALL, MIDDLE, LARGE) == {"input": ShapeRange(SMALL, MIDDLE, LARGE)}


@pytest.mark.parametrize("place", [0, 1, 2], ids=["min", "opt", "max"])
def test_a_shape_that_is_given_once_stands_for_all_three(place: int) -> None:
    given_once = [MIDDLE if at == place else None for at in range(3)]
    assert from_shapes(a_model(), *given_once) == {"input": ShapeRange(MIDDLE, MIDDLE, MIDDLE)}


def test_without_opt_the_builder_tunes_for_the_largest() -> None:
    assert from_shapes(a_model(), SMALL, None, LARGE) == {"input": ShapeRange(SMALL, LARGE, LARGE)}


def test_a_static_model_needs_no_profile() -> None:
    assert profile_from_shapes(STATIC_MODEL, {}, {}, {}) == {}


@pytest.mark.parametrize(
    ("low", "mid", "high"), [(MIDDLE, SMALL, LARGE), (SMALL, LARGE, MIDDLE), (LARGE, LARGE, SMALL)]
)
def test_shapes_that_do_not_ascend_are_refused(low: Shape, mid: Shape, high: Shape) -> None:
    with pytest.raises(InvalidSpecError, match="min <= opt <= max"):
        from_shapes(a_model(), low, mid, high)


def test_a_dynamic_input_without_shapes_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="'input' is dynamic") as caught:
        profile_from_shapes(a_model(), {}, {}, {})
    assert "--opt-shapes" in caught.value.hint


def test_every_dynamic_input_needs_shapes() -> None:
    with pytest.raises(InvalidSpecError, match="'mask' is dynamic"):
        from_shapes(TWO_INPUTS, SMALL, name="image")


def test_shapes_for_an_unknown_input_suggest_the_nearest() -> None:
    with pytest.raises(InvalidSpecError, match="no input 'inptu'") as caught:
        from_shapes(a_model(), MIDDLE, name="inptu")
    assert "input" in caught.value.hint


def test_shapes_for_a_static_input_are_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidSpecError, match="'input' is static") as caught:
        from_shapes(STATIC_MODEL, (4, 3, 8, 8))
    assert "export the model with dynamic dimensions" in caught.value.hint


@pytest.mark.parametrize("shape", [(8, 3, 8), (8, 3, 8, 8, 1), (8, 4, 8, 8), (8, 3, 8, 16), ()])
def test_a_shape_that_contradicts_the_model_is_refused(shape: Shape) -> None:
    with pytest.raises(InvalidSpecError):
        from_shapes(a_model(), shape)
    with pytest.raises(InvalidSpecError):
        from_shapes(a_model(), SMALL, MIDDLE, shape)


# Batches.


def test_batches_make_a_profile_from_the_smallest_to_the_largest() -> None:
    assert profile_from_batches(a_model(), (16, 1, 8)) == {"input": a_shape_range(1, 8, 16)}


@given(st.lists(st.integers(1, 512), min_size=1, max_size=6))
def test_every_batch_asked_for_lies_in_the_profile(batches: list[int]) -> None:
    profile = profile_from_batches(a_model(), batches)
    span = profile["input"]
    assert (span.min[0], span.max[0]) == (min(batches), max(batches))
    assert span.opt[0] in batches
    for batch in batches:
        assert shapes_at_batch(a_model(), profile, batch) == {"input": (batch, 3, 8, 8)}


@given(st.permutations([1, 2, 8, 32]))
def test_the_order_of_batches_does_not_count(batches: list[int]) -> None:
    assert profile_from_batches(a_model(), batches) == profile_from_batches(a_model(), [1, 2, 8, 32])


def test_batches_make_a_range_for_every_dynamic_input_alone() -> None:
    assert set(profile_from_batches(TWO_INPUTS, (1, 4))) == {"image", "mask"}


@pytest.mark.parametrize("shape", [(1, -1), (-1, -1), (-1, 3, -1, -1)])
def test_batches_alone_do_not_do_where_more_is_dynamic(shape: Shape) -> None:
    with pytest.raises(InvalidSpecError, match="more than the batch is dynamic") as caught:
        profile_from_batches(a_model(inputs=(a_tensor("ids", shape),)), (1, 4))
    assert "--opt-shapes" in caught.value.hint


# Shapes at a batch.


def test_at_a_batch_the_other_sizes_are_the_tuned_ones() -> None:
    model = a_model(inputs=(a_tensor("ids", (-1, -1)),))
    profile = {"ids": ShapeRange((1, 16), (4, 128), (8, 512))}
    assert shapes_at_batch(model, profile, 8) == {"ids": (8, 128)}


def test_static_inputs_stand_beside_a_dynamic_batch_as_they_are() -> None:
    profile = profile_from_batches(TWO_INPUTS, (1, 4))
    assert shapes_at_batch(TWO_INPUTS, profile, 4) == {
        "image": (4, 3, 8, 8),
        "mask": (4, 8),
        "anchors": (77, 4),
    }


@pytest.mark.parametrize("batch", [0, 17, 1000])
def test_a_batch_outside_the_profile_is_refused(batch: int) -> None:
    with pytest.raises(InvalidSpecError, match="outside the profile of input 'input': 1x3x8x8 to 16x3x8x8"):
        shapes_at_batch(a_model(), {"input": a_shape_range()}, batch)


def test_a_fixed_batch_runs_as_it_is() -> None:
    assert shapes_at_batch(STATIC_MODEL, {}, 4) == {"input": (4, 3, 8, 8)}


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_model_of_fixed_batch_runs_at_no_other(batch: int) -> None:
    with pytest.raises(InvalidSpecError, match="fixed at 4") as caught:
        shapes_at_batch(STATIC_MODEL, {}, batch)
    assert "dynamic batch" in caught.value.hint
    assert "--static" in caught.value.hint


def test_a_batch_stays_fixed_where_something_else_is_dynamic() -> None:
    profile = {"ids": ShapeRange((1, 16), (1, 128), (1, 512))}
    assert shapes_at_batch(TEXT_MODEL, profile, 1) == {"ids": (1, 128)}
    with pytest.raises(InvalidSpecError, match="fixed at 1"):
        shapes_at_batch(TEXT_MODEL, profile, 8)


def test_static_inputs_need_not_agree_on_their_first_size() -> None:
    assert shapes_at_batch(UNET, {}, 2) == {tensor.name: tensor.shape for tensor in UNET.inputs}
    with pytest.raises(InvalidSpecError, match="fixed at 1 or 2"):
        shapes_at_batch(UNET, {}, 4)


def test_scalars_have_no_batch() -> None:
    model = a_model(inputs=(a_tensor("step", ()),))
    assert shapes_at_batch(model, {}, 1) == {"step": ()}
    with pytest.raises(InvalidSpecError, match="scalars"):
        shapes_at_batch(model, {}, 2)


def test_a_model_without_inputs_runs_once() -> None:
    assert shapes_at_batch(a_model(inputs=()), {}, 1) == {}
