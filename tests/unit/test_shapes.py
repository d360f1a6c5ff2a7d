"""Shapes as people write them, and the ranges that a profile allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.errors import InvalidSpecError
from farm.domain.models import Tensor
from farm.domain.shapes import LARGEST_SIZE, ShapeRange, parse_shape, parse_shapes, shape_text

sizes = st.integers(min_value=0, max_value=10_000)
shapes = st.lists(sizes, min_size=1, max_size=6).map(tuple)
ranges = st.lists(st.tuples(sizes, sizes, sizes).map(sorted), max_size=5).map(
    lambda dims: ShapeRange(*(tuple(dim[at] for dim in dims) for at in range(3)))
)


@given(shapes)
def test_a_shape_survives_its_text(shape: tuple[int, ...]) -> None:
    assert parse_shape(shape_text(shape)) == shape


def test_a_scalar_says_so() -> None:
    assert shape_text(()) == "scalar"


@pytest.mark.parametrize(
    "text", ["", "x", "1x", "x1", "1xx2", "-1x3", "1X3", "1,3", "1.5", "scalar", "1x3\n"]
)
def test_what_is_not_a_shape_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        parse_shape(text)
    assert "1x3x224x224" in caught.value.hint


@pytest.mark.parametrize("size", [LARGEST_SIZE + 1, 10**20])
def test_no_size_is_more_than_toolchains_count(size: int) -> None:
    assert parse_shape(f"1x{LARGEST_SIZE}") == (1, LARGEST_SIZE)
    with pytest.raises(InvalidSpecError, match=f"no dimension can be {size}: the largest is"):
        parse_shape(f"1x{size}x8")


def test_a_number_that_python_does_not_read_is_no_size() -> None:
    with pytest.raises(InvalidSpecError, match="not a shape"):
        parse_shape("1x" + "9" * 5000)


@given(st.dictionaries(st.text(st.characters(exclude_characters=","), min_size=1), shapes, max_size=4))
def test_named_shapes_survive_their_text(named: dict[str, tuple[int, ...]]) -> None:
    text = ",".join(f"{name}:{shape_text(shape)}" for name, shape in named.items())
    assert parse_shapes(text) == named


def test_names_may_hold_colons() -> None:
    assert parse_shapes("serving_default:input:0:1x3,mask:1") == {
        "serving_default:input:0": (1, 3),
        "mask": (1,),
    }


@pytest.mark.parametrize("text", ["1x3", ":1x3", "input", "input:", "input:1x"])
def test_what_is_not_a_named_shape_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError):
        parse_shapes(text)


def test_a_name_that_comes_twice_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="two shapes"):
        parse_shapes("input:1x3,input:2x3")


@given(ranges)
def test_a_range_holds_its_own_shapes_and_survives_json(span: ShapeRange) -> None:
    assert all(span.contains(shape) for shape in (span.min, span.opt, span.max))
    assert ShapeRange.from_json(span.as_json()) == span


@given(ranges, shapes)
def test_a_range_holds_what_lies_between_in_every_dimension(span: ShapeRange, shape: tuple[int, ...]) -> None:
    inside = len(shape) == len(span.min) and all(
        span.min[at] <= size <= span.max[at] for at, size in enumerate(shape)
    )
    assert span.contains(shape) is inside


@given(st.tuples(sizes, sizes, sizes))
def test_min_opt_and_max_must_ascend(dims: tuple[int, int, int]) -> None:
    low, mid, high = dims
    if low <= mid <= high:
        ShapeRange((1, low), (1, mid), (1, high))
    else:
        with pytest.raises(InvalidSpecError, match="min <= opt <= max"):
            ShapeRange((1, low), (1, mid), (1, high))


def test_a_range_has_no_open_dimension() -> None:
    with pytest.raises(InvalidSpecError):
        ShapeRange((-1, 3), (1, 3), (1, 3))


def test_min_opt_and_max_have_as_many_dimensions() -> None:
    with pytest.raises(InvalidSpecError, match="same number of dimensions"):
        ShapeRange((1,), (1, 3), (1, 3))


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        (Tensor("input", "float32", (-1, 3, 224), ("N", "", "")), "input float32 Nx3x224"),
        (Tensor("input", "float32", (-1, 3)), "input float32 ?x3"),
        (Tensor("ids", "int64", (1, -1), ("", "seq")), "ids int64 1xseq"),
        (Tensor("step", "int64", ()), "step int64 scalar"),
    ],
)
def test_a_tensor_is_written_with_the_graphs_own_names(tensor: Tensor, text: str) -> None:
    assert str(tensor) == text
    assert tensor.is_dynamic is (-1 in tensor.shape)
