"""Random inputs are drawn within ranges: what users declare, what a graph tells, what is sensible else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.errors import InvalidSpecError
from farm.domain.input_ranges import (
    InputRange,
    check_input_ranges,
    parse_input_range,
    ranges_as_json,
    ranges_from_json,
)
from farm.domain.models import Tensor
from farm.domain.verification import VerificationSpec
from tests.factories import a_digest
from workers.arrays import random_inputs


def drawn(name: str, dtype: str, shape: tuple[int, ...], span: InputRange | None = None) -> Any:
    return random_inputs([Tensor(name, dtype, shape)], {name: shape}, 0, {name: span} if span else {})[name]


@pytest.mark.parametrize(
    ("value", "span"),
    [
        ("0:30521", (0, 30521)),
        ("-1:1", (-1, 1)),
        ("0.5:0.75", (0.5, 0.75)),
        ("7:7", (7, 7)),
        ([-1, 1], (-1, 1)),
    ],
)
def test_a_range_is_a_lowest_and_a_highest_value(value: Any, span: tuple[float, float]) -> None:
    assert parse_input_range("x", value) == span


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("5", "is no range"),
        ("1:2:3", "is no range"),
        ("a:b", "is no range"),
        ("2:1", "is empty"),
        ("0:nan", "is empty"),
        ("0:inf", "is empty"),
        ("0:0", "zeros alone"),
        # What YAML makes of an unquoted -1:1.
        (-59, "is no range"),
    ],
)
def test_what_is_no_range_is_refused(value: Any, said: str) -> None:
    with pytest.raises(InvalidSpecError, match=said) as caught:
        parse_input_range("x", value)
    assert "NAME=LOWEST:HIGHEST" in caught.value.hint


@pytest.mark.parametrize(
    ("dtype", "span"),
    [
        ("int8", (0, 300)),
        ("uint8", (-1, 1)),
        ("int64", (0, 0.5)),
        ("bool", (0, 2)),
        ("float16", (0, 1e6)),
        ("string", (0, 1)),
    ],
)
def test_a_range_that_a_type_can_not_hold_is_refused(dtype: str, span: tuple[float, float]) -> None:
    with pytest.raises(InvalidSpecError, match="does not fit input x"):
        check_input_ranges({"x": InputRange(*span)}, {"x": Tensor("x", dtype, (1,))})


def test_a_range_of_no_input_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidSpecError, match="no input 'input_id'") as caught:
        check_input_ranges({"input_id": InputRange(0, 9)}, {"input_ids": Tensor("input_ids", "int64", (1,))})
    assert "input_ids" in caught.value.hint


@given(st.sampled_from(["int8", "int64", "uint8"]), st.integers(0, 50), st.integers(0, 50))
def test_integers_have_both_ends_and_nothing_beyond(dtype: str, low: int, width: int) -> None:
    high = max(low + width, 1)
    found = drawn("x", dtype, (60 * (width + 1),), InputRange(low, high))
    assert (found.dtype.name, found.min() >= low, found.max() <= high) == (dtype, True, True)
    if width == 1:
        assert {int(value) for value in found} == {low, high}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_floats_are_spread_over_the_range(dtype: str) -> None:
    found = drawn("image", dtype, (1000,), InputRange(-1, 1)).astype(np.float64)
    assert -1 <= found.min() < -0.9
    assert 0.9 < found.max() <= 1
    assert abs(found.mean()) < 0.1


@pytest.mark.parametrize("dtype", ["int64", "int32", "bool"])
def test_no_row_of_a_mask_masks_everything(dtype: str) -> None:
    found = drawn("attention_mask", dtype, (64, 2))
    assert found[:, 0].all()
    assert {int(value) for value in found.ravel()} == {0, 1}


@pytest.mark.parametrize(("span", "value"), [((0, 3), 3), ((-3, 0), -3)])
def test_what_takes_the_place_of_zeros_is_within_the_range(span: tuple[float, float], value: int) -> None:
    found = [
        int(random_inputs([Tensor("n", "int64", (1,))], {"n": (1,)}, seed, {"n": InputRange(*span)})["n"][0])
        for seed in range(40)
    ]
    assert set(found) <= set(range(int(span[0]), int(span[1]) + 1)) - {0}
    assert value in found


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize("dtype", ["int64", "bool", "uint8"])
def test_integers_are_never_zeros_alone(dtype: str, shape: tuple[int, ...]) -> None:
    for seed in range(8):
        found = random_inputs([Tensor("n", dtype, shape)], {"n": shape}, seed)["n"]
        assert found.any()


def test_an_input_without_elements_stays_so() -> None:
    assert drawn("mask", "int64", (0, 4)).shape == (0, 4)


def test_ranges_survive_json_and_are_left_out_where_there_are_none() -> None:
    ranges = {"ids": InputRange(0, 30521), "image": InputRange(-0.5, 1)}
    assert ranges_as_json(ranges) == {"ids": [0, 30521], "image": [-0.5, 1]}
    assert ranges_from_json(ranges_as_json(ranges)) == ranges
    spec = VerificationSpec(input_ranges=ranges, vocabularies={"ids": InputRange(0, 99)})
    assert VerificationSpec.from_json(spec.as_json()) == spec
    assert not {"input_ranges", "vocabularies"} & set(VerificationSpec().as_json())


def test_the_users_word_goes_before_the_graphs() -> None:
    spec = VerificationSpec(
        input_ranges={"ids": InputRange(5, 9)},
        vocabularies={"ids": InputRange(0, 99), "types": InputRange(0, 1)},
    )
    assert spec.known_ranges == {"ids": (5, 9), "types": (0, 1)}


def test_ranges_ask_for_a_run_of_their_own_unless_inputs_are_given() -> None:
    ranges = {"ids": InputRange(0, 9)}
    assert VerificationSpec(input_ranges=ranges).beyond_inputs == {"input_ranges": {"ids": [0, 9]}}
    assert VerificationSpec(a_digest().sha256, input_ranges=ranges).beyond_inputs == {}
    assert VerificationSpec(vocabularies=ranges).beyond_inputs == {}
