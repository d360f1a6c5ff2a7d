"""Arrays in TensorRT's memory formats: what NVIDIA's header says of each place, and nothing is lost on the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.errors import BuildError
from farm.domain.io_formats import FORMATS
from workers.toolchains.io_layouts import layout_word, pack, packed_shape, unpack

FED = [word for word, known in FORMATS.items() if not known.needs_dla]


#: A few batches, channels around the sizes of vectors, and places.
SHAPES = st.tuples(
    st.lists(st.integers(1, 3), max_size=2),
    st.integers(1, 70),
    st.lists(st.integers(1, 3), min_size=3, max_size=3),
)
ELEMENTS = st.sampled_from([np.float32, np.float16, np.int8, np.uint16])


def numbered(word: str, shape: tuple[list[int], int, list[int]], dtype: Any) -> Any:
    """An array of a rank that a format takes, no value of which is zero."""
    before, channels, places = shape
    sizes = (*before, channels, *places[: max(FORMATS[word].rank, 2) - 1])
    return (np.arange(np.prod(sizes)) % 101 + 1).astype(dtype).reshape(sizes)


@given(st.sampled_from(FED), SHAPES, ELEMENTS)
def test_what_is_packed_comes_back_as_it_was(
    word: str, shape: tuple[list[int], int, list[int]], dtype: Any
) -> None:
    array = numbered(word, shape, dtype)
    packed = pack(word, array)
    assert packed.shape == packed_shape(word, array.shape)
    assert packed.flags.c_contiguous
    assert packed.dtype == array.dtype
    np.testing.assert_array_equal(unpack(word, packed, array.shape), array)


@given(st.sampled_from(FED), SHAPES, ELEMENTS)
def test_surplus_channels_are_zero(word: str, shape: tuple[list[int], int, list[int]], dtype: Any) -> None:
    array = numbered(word, shape, dtype)
    assert np.count_nonzero(pack(word, array)) == array.size, "every value is there once, and nothing else"


@pytest.mark.parametrize(
    ("word", "at"),
    [
        ("chw2", lambda n, c, h, w: (n, c // 2, h, w, c % 2)),
        ("chw4", lambda n, c, h, w: (n, c // 4, h, w, c % 4)),
        ("chw16", lambda n, c, h, w: (n, c // 16, h, w, c % 16)),
        ("chw32", lambda n, c, h, w: (n, c // 32, h, w, c % 32)),
        ("hwc", lambda n, c, h, w: (n, h, w, c)),
        ("hwc8", lambda n, c, h, w: (n, h, w, c)),
        ("hwc16", lambda n, c, h, w: (n, h, w, c)),
        ("chw", lambda n, c, h, w: (n, c, h, w)),
    ],
)
def test_a_value_lies_where_the_header_says(word: str, at: Any) -> None:
    array = np.arange(2 * 35 * 3 * 4, dtype=np.float32).reshape(2, 35, 3, 4)
    packed = pack(word, array)
    for place in np.ndindex(array.shape):
        assert packed[at(*place)] == array[place]


@pytest.mark.parametrize(
    ("word", "at"),
    [
        ("dhwc8", lambda n, c, d, h, w: (n, d, h, w, c)),
        ("dhwc", lambda n, c, d, h, w: (n, d, h, w, c)),
        ("cdhw32", lambda n, c, d, h, w: (n, c // 32, d, h, w, c % 32)),
    ],
)
def test_a_value_of_a_volume_lies_where_the_header_says(word: str, at: Any) -> None:
    array = np.arange(2 * 35 * 2 * 3 * 4, dtype=np.float32).reshape(2, 35, 2, 3, 4)
    packed = pack(word, array)
    for place in np.ndindex(array.shape):
        assert packed[at(*place)] == array[place]


@pytest.mark.parametrize(
    ("word", "shape", "packed"),
    [
        ("chw16", (8, 3, 32, 32), (8, 1, 32, 32, 16)),
        ("hwc8", (8, 3, 32, 32), (8, 32, 32, 8)),
        ("chw32", (8, 64, 7, 7), (8, 2, 7, 7, 32)),
        ("hwc", (8, 3, 32, 32), (8, 32, 32, 3)),
        ("chw", (8, 3), (8, 3)),
    ],
)
def test_buffers_have_room_for_whole_vectors(
    word: str, shape: tuple[int, ...], packed: tuple[int, ...]
) -> None:
    assert packed_shape(word, shape) == packed


def test_tensorrts_names_are_the_farms_words() -> None:
    assert layout_word("TensorFormat.LINEAR") == "chw"
    assert layout_word("TensorFormat.CDHW32") == "cdhw32"
    for name in ("DLA_LINEAR", "DLA_HWC4", "SOMETHING_NEW"):
        with pytest.raises(BuildError, match=f"of format {name}, which the farm can not feed"):
            layout_word(f"TensorFormat.{name}")
