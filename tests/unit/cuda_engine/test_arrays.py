"""Which arrays an engine takes, and how they come back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from farm.domain.errors import InvalidSpecError
from workers.toolchains.cuda_arrays import EngineTensor, as_caller_sees, prepare


def tensor(dtype: str, shape: tuple[int, ...] = (-1,)) -> EngineTensor:
    return EngineTensor("i", dtype, shape, is_input=True)


def test_int64_is_taken_where_the_engine_has_int32() -> None:
    array = prepare([tensor("int32")], {"i": np.array([1, -2], np.int64)})["i"]
    assert array.dtype == np.int32
    assert array.tolist() == [1, -2]
    with pytest.raises(InvalidSpecError, match="beyond int32"):
        prepare([tensor("int32")], {"i": np.array([2**31], np.int64)})


@pytest.mark.parametrize(
    ("dtype", "array"),
    [
        ("float32", np.zeros(2, np.complex64)),
        ("int32", np.zeros(2, np.float32)),
        ("bool", np.zeros(2, np.int32)),
    ],
)
def test_arrays_of_another_kind_are_refused(dtype: str, array: Any) -> None:
    with pytest.raises(InvalidSpecError, match="does not fit input i"):
        prepare([tensor(dtype)], {"i": array})


def test_scalars_and_strided_arrays_keep_their_shape() -> None:
    assert prepare([tensor("float32", ())], {"i": np.float32(3)})["i"].shape == ()
    strided = np.arange(8, dtype=np.float32)[::2]
    assert prepare([tensor("float32")], {"i": strided})["i"].tolist() == [0, 2, 4, 6]


def test_bfloat16_rounds_to_nearest_even_and_comes_back_exactly() -> None:
    values = np.array([1.0, -2.5, 1 + 2**-8, 1 + 3 * 2**-8, np.inf, np.nan, 0.0], np.float32)
    bits = prepare([tensor("bfloat16")], {"i": values})["i"]
    assert bits.dtype == np.uint16
    back = as_caller_sees(tensor("bfloat16"), bits)
    np.testing.assert_array_equal(back, np.array([1, -2.5, 1, 1 + 2**-6, np.inf, np.nan, 0], np.float32))
    assert (prepare([tensor("bfloat16")], {"i": bits})["i"] == bits).all()
