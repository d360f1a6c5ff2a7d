"""Static integer inputs of rank 0 or 1 may hold a shape: the options of shapes give their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.profile_shapes import opt_values_of, shape_ranges, usual_batches
from farm.domain.profiles import profiles_from_wishes, shapes_at_batch
from farm.domain.shapes import ShapeRange
from tests.factories import a_model, a_tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm.domain.models import Model
    from farm.domain.shapes import Shape

MODEL = a_model(inputs=(a_tensor("x", (-1, 8)), a_tensor("size", (2,), "int64")))
HELD = ShapeRange((1, 8), (4, 16), (8, 32))


def profile_of(
    model: Model, *given: Mapping[str, Shape], batches: tuple[int, ...] = ()
) -> dict[str, ShapeRange]:
    (profile,) = profiles_from_wishes(model, *([shapes] for shapes in given), batches)
    return profile


def test_values_have_a_range_like_shapes() -> None:
    found = profile_of(
        MODEL, {"x": (1, 8), "size": (1, 8)}, {"x": (4, 8), "size": (4, 16)}, {"x": (8, 8), "size": (8, 32)}
    )
    assert found == {"x": ShapeRange((1, 8), (4, 8), (8, 8)), "size": HELD}


def test_values_stand_beside_batches_that_make_the_shapes() -> None:
    found = profile_of(MODEL, {"size": (1, 8)}, {"size": (4, 16)}, {"size": (8, 32)}, batches=(1, 4))
    assert found == {"x": ShapeRange((1, 8), (4, 8), (4, 8)), "size": HELD}


def test_a_static_model_can_have_values() -> None:
    model = a_model(inputs=(a_tensor("x", (4, 8)), a_tensor("size", (), "int32")))
    assert profile_of(model, {"size": (2,)}, {"size": (3,)}, {"size": (9,)}) == {
        "size": ShapeRange((2,), (3,), (9,))
    }


@pytest.mark.parametrize("values", [(1,), (1, 2, 3)])
def test_another_number_of_values_is_refused(values: Shape) -> None:
    with pytest.raises(InvalidSpecError, match=r"holds 2 value\(s\)"):
        profile_of(MODEL, {"size": values}, {"size": values}, {"size": values}, batches=(1,))


@pytest.mark.parametrize(("shape", "dtype"), [((2,), "float32"), ((2, 2), "int64"), ((2,), "uint8")])
def test_what_can_not_hold_a_shape_takes_no_values(shape: Shape, dtype: str) -> None:
    model = a_model(inputs=(a_tensor("x", (-1, 8)), a_tensor("size", shape, dtype)))
    with pytest.raises(InvalidSpecError, match="'size' is static"):
        profile_of(model, {"size": (1, 2)}, {"size": (1, 2)}, {"size": (1, 2)}, batches=(1,))


def test_values_are_no_shapes_and_no_batch() -> None:
    profile = {"x": ShapeRange((1, 8), (4, 8), (8, 8)), "size": HELD}
    assert shapes_at_batch(MODEL, profile, 8) == {"x": (8, 8), "size": (2,)}
    assert opt_values_of(MODEL, profile) == {"size": (4, 16)}
    assert set(shape_ranges(MODEL, profile)) == {"x"}
    static = a_model(inputs=(a_tensor("x", (4, 8)), a_tensor("size", (2,), "int64")))
    assert usual_batches(static, ({"size": HELD},)) == (4,)
    with pytest.raises(InvalidSpecError, match="fixed at 4"):
        shapes_at_batch(static, {"size": HELD}, 2)
