"""Cells with INT8 are calibrated with what the user gave, or refused with what to give."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from farm.domain.calibration import Calibration
from farm.domain.errors import InvalidSpecError, UnsupportedTargetError
from tests.factories import a_digest, a_model
from tests.unit.plan.fleets import plan

if TYPE_CHECKING:
    from tests.fakes import InMemoryDatabase

DATA = Calibration(a_digest("samples").sha256, batch=8)


def test_int8_without_samples_is_refused_with_both_ways_to_give_them(fleet: InMemoryDatabase) -> None:
    with pytest.raises(UnsupportedTargetError, match="or --calibration random"):
        plan(fleet, gpus=("h200",), precisions=("int8",))


def test_only_the_cells_with_int8_are_calibrated(fleet: InMemoryDatabase) -> None:
    wished = ("fp16", "int8", "int8+fp16")
    found = plan(fleet, gpus=("h200",), toolchains=("tensorrt@8",), precisions=wished, calibration=DATA)
    assert {cell.spec.precision: cell.spec.calibration for cell in found.cells} == {
        "fp16": None,
        "int8": DATA,
        "int8+fp16": DATA,
    }


def test_the_algorithm_is_one_of_the_cells_with_int8_alone(fleet: InMemoryDatabase) -> None:
    wishes = {
        "gpus": ("h200",),
        "toolchains": ("tensorrt@8",),
        "precisions": ("fp16", "int8"),
        "calibration": DATA,
    }
    usual = plan(fleet, **wishes)
    found = plan(fleet, calibration_algorithm="minmax", **wishes)
    assert [cell.spec.builder_config for cell in found.cells] == [
        {},
        {"calibration_algorithm": "MINMAX_CALIBRATION"},
    ]
    assert found.cells[0].spec.digest == usual.cells[0].spec.digest
    assert found.cells[1].spec.digest != usual.cells[1].spec.digest
    named = plan(fleet, calibration_algorithm="entropy", **wishes)
    assert [c.spec.digest for c in named.cells] == [c.spec.digest for c in usual.cells], "it is the usual one"


def test_a_model_with_quantize_nodes_needs_no_samples(fleet: InMemoryDatabase) -> None:
    model = replace(a_model(), operators={"QuantizeLinear": 1, "Conv": 1})
    wishes = {"gpus": ("h200",), "toolchains": ("tensorrt@8",), "precisions": ("int8",)}
    (cell,) = plan(fleet, model, **wishes).cells
    assert cell.spec.calibration is None
    (given,) = plan(fleet, model, calibration=DATA, calibration_algorithm="minmax", **wishes).cells
    assert given.spec.digest == cell.spec.digest, "they have no effect on it"


def test_a_toolchain_without_calibrators_says_so(fleet: InMemoryDatabase) -> None:
    with pytest.raises(UnsupportedTargetError, match="has no calibrators; quantise the model"):
        plan(fleet, gpus=("sm89",), precisions=("int8",), calibration=DATA)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"data_sha256": "ab", "batch": 0}, "at least one sample, not 0"),
        ({"data_sha256": "ab", "samples": -1}, "at least one sample"),
        ({}, "at least one sample"),
        ({"data_sha256": "ab", "samples": 4, "batch": 8}, "do not fill a batch of 8"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidSpecError, match=words):
        Calibration(**wrong)  # type: ignore[arg-type]


def test_an_algorithm_that_a_toolchain_lacks_is_refused_with_those_that_it_has(
    fleet: InMemoryDatabase,
) -> None:
    wishes = {"gpus": ("h200",), "toolchains": ("tensorrt@8",), "precisions": ("int8",), "calibration": DATA}
    with pytest.raises(UnsupportedTargetError, match="has no calibration algorithm percentile; it has"):
        plan(fleet, calibration_algorithm="percentile", **wishes)


def test_random_samples_are_some_and_not_all_that_a_host_can_hold() -> None:
    with pytest.raises(InvalidSpecError, match="more than 4096"):
        Calibration(samples=5000)
