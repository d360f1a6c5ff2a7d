"""An inputs file may say what is to be computed: arrays `outputs/NAME`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.models import Tensor
from farm.domain.verification import VerificationSpec
from workers.arrays import check_golden, check_inputs, golden_outputs

INPUTS = (Tensor("x", "float32", (-1, 8)),)
OUTPUTS = (Tensor("scores", "float32", (-1, 4)),)
X, SCORES = np.zeros((6, 8), np.float32), np.ones((6, 4), np.float32)


def test_outputs_are_found_by_their_prefix() -> None:
    assert list(golden_outputs({"x": X, "outputs/scores": SCORES, "labels": SCORES})) == ["scores"]


def test_outputs_are_no_inputs() -> None:
    assert list(check_inputs({"x": X, "outputs/scores": SCORES}, INPUTS)) == ["x"]


def test_an_input_that_is_called_so_is_an_input() -> None:
    odd = Tensor("outputs/scores", "float32", (-1, 4))
    assert golden_outputs({"outputs/scores": SCORES}, {odd.name}) == {}
    assert list(check_inputs({"outputs/scores": SCORES}, [odd])) == [odd.name]


def test_a_file_without_outputs_has_none() -> None:
    assert not check_golden({"x": X}, INPUTS, OUTPUTS)


def test_a_file_with_every_output_has_them() -> None:
    assert check_golden({"x": X, "outputs/scores": SCORES}, INPUTS, OUTPUTS)


def test_outputs_of_a_model_that_declares_none_are_believed() -> None:
    assert check_golden({"x": X, "outputs/anything": SCORES}, INPUTS, ())


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"outputs/score": SCORES}, "Did you mean scores"),
        ({"outputs/scores": SCORES[:, :3]}, "6x3, which does not fit output scores"),
        ({"outputs/scores": SCORES[0]}, "4, which does not fit output scores"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(arrays: Any, said: str) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        check_golden({"x": X, **arrays}, INPUTS, OUTPUTS)
    assert said in f"{refused.value.message} {refused.value.hint}"


def test_either_all_outputs_are_given_or_none() -> None:
    two = (*OUTPUTS, Tensor("features", "float32", (-1, 3)))
    with pytest.raises(InvalidSpecError, match="none for features"):
        check_golden({"x": X, "outputs/scores": SCORES}, INPUTS, two)


def test_a_verification_says_so_only_where_there_are_outputs() -> None:
    plain, given = VerificationSpec("a" * 64), VerificationSpec("a" * 64, has_outputs=True)
    assert "has_outputs" not in plain.as_json()
    assert [VerificationSpec.from_json(spec.as_json()) for spec in (plain, given)] == [plain, given]
