"""Which toolchains a builder option goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.errors import InvalidSpecError, UnsupportedTargetError
from tests.factories import a_toolchain
from tests.fakes import InMemoryDatabase
from tests.unit.plan.fleets import H200, plan
from tests.unit.trt.surface import surface
from workers.toolchains.trt_options import options_of as builder_options_of

if TYPE_CHECKING:
    from farm.services.plan import Plan


def options_of(found: Plan) -> dict[str, dict[str, Any]]:
    return {str(cell.spec.target.toolchain): dict(cell.spec.builder_config) for cell in found.cells}


def test_an_option_goes_to_every_toolchain_in_its_canonical_form(fleet: InMemoryDatabase) -> None:
    found = plan(fleet, gpus=("h200",), toolchains=("all",), options={"builder_optimization_level": "5"})
    assert set(map(str, options_of(found).values())) == {"{'builder_optimization_level': 5}"}
    assert found.notes == ()


def test_a_scoped_option_goes_to_its_toolchain_alone(fleet: InMemoryDatabase) -> None:
    found = plan(
        fleet, gpus=("h200",), toolchains=("all",), options={"tensorrt@8:builder_optimization_level": "5"}
    )
    assert options_of(found) == {
        "tensorrt 8.6.0": {"builder_optimization_level": 5},
        "tensorrt 9.3.0": {},
        "tensorrt 10.13.3": {},
    }


@pytest.mark.parametrize("is_reversed", [False, True])
def test_the_exacter_scope_overrules_whatever_the_order(fleet: InMemoryDatabase, is_reversed: bool) -> None:
    wishes = [
        ("builder_optimization_level", "1"),
        ("tensorrt:builder_optimization_level", "4"),
        ("tensorrt@8.6:builder_optimization_level", "5"),
    ]
    options = dict(wishes[::-1] if is_reversed else wishes)
    found = plan(fleet, gpus=("h200",), toolchains=("tensorrt@8", "tensorrt@9"), options=options)
    assert options_of(found) == {
        "tensorrt 8.6.0": {"builder_optimization_level": 5},
        "tensorrt 9.3.0": {"builder_optimization_level": 4},
    }


def test_an_option_that_one_of_several_does_not_know_is_a_note(fleet: InMemoryDatabase) -> None:
    found = plan(fleet, gpus=("h200",), toolchains=("all",), options={"only_in_nine": 1})
    assert options_of(found)["tensorrt 9.3.0"] == {"only_in_nine": 1}
    assert options_of(found)["tensorrt 8.6.0"] == {}
    (note,) = found.notes
    assert "only_in_nine does not exist in tensorrt 10.13.3, tensorrt 8.6.0" in note


def test_an_option_that_none_knows_is_refused_with_the_nearest(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="no builder option 'optimization_level'") as caught:
        plan(fleet, options={"optimization_level": 3})
    assert "builder_optimization_level" in caught.value.hint


def test_a_scoped_option_that_its_toolchain_does_not_know_is_refused(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match=r"no builder option 'only_in_nine' in tensorrt 8\.6\.0"):
        plan(fleet, gpus=("h200",), toolchains=("all",), options={"tensorrt@8:only_in_nine": 1})


def test_an_option_for_a_toolchain_that_builds_nothing_here_is_refused(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="builds no cell here") as caught:
        plan(fleet, gpus=("h200",), options={"tensorrrt:builder_optimization_level": 3})
    assert "tensorrt" in caught.value.hint


def test_a_value_that_does_not_fit_is_refused(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="can not be '9'"):
        plan(fleet, gpus=("h200",), options={"builder_optimization_level": "9"})


def test_an_option_that_no_release_here_has_is_refused_with_the_releases_that_have_it(
    fleet: InMemoryDatabase,
) -> None:
    with pytest.raises(
        InvalidSpecError, match=r"no builder option 'strip_plan' in tensorrt 8\.6\.0"
    ) as caught:
        plan(fleet, gpus=("h200",), toolchains=("tensorrt@8.6",), options={"strip_plan": "true"})
    assert caught.value.hint == "strip_plan is in TensorRT 10.0 and later."
    with pytest.raises(InvalidSpecError, match="no builder option 'refit' in tensorrt-rtx") as caught:
        plan(fleet, gpus=("sm89",), options={"refit": "true"})
    assert "fails without a GPU" in caught.value.hint


def test_an_option_that_one_release_lacks_goes_to_the_others_with_the_reason(fleet: InMemoryDatabase) -> None:
    found = plan(fleet, gpus=("h200", "sm89"), toolchains=("all",), options={"sparse_weights": "true"})
    assert options_of(found)["tensorrt 8.6.0"] == {"sparse_weights": True}
    assert options_of(found)["tensorrt-rtx 1.7.1"] == {}
    (note,) = found.notes
    assert "has no effect there: sparse_weights is not offered for TensorRT-RTX" in note


def test_options_that_exclude_each_other_are_refused_before_anything_is_planned(
    fleet_of_ten: InMemoryDatabase,
) -> None:
    with pytest.raises(InvalidSpecError, match="exclude each other"):
        plan(fleet_of_ten, options={"refit": "true", "refit_identical": "true"})


def test_a_cell_whose_network_is_not_strongly_typed_streams_no_weights(
    fleet_of_ten: InMemoryDatabase,
) -> None:
    with pytest.raises(UnsupportedTargetError, match="add strongly_typed=true"):
        plan(fleet_of_ten, precisions=("fp16",), options={"weight_streaming": "true"})
    found = plan(
        fleet_of_ten, precisions=("fp16",), options={"weight_streaming": "true", "strongly_typed": "true"}
    )
    assert len(found.cells) == 1


@pytest.fixture
def fleet_of_ten() -> InMemoryDatabase:
    """An H200 with TensorRT 10.16 and all its options."""
    database = InMemoryDatabase()
    toolchain = a_toolchain(version="10.16.1.11", options=builder_options_of(surface("10.16.1.11")))
    with database.transaction() as transaction:
        transaction.fleet.describe([H200], [toolchain])
    return database
