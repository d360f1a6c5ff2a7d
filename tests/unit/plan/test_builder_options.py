"""Which toolchains a builder option goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.errors import InvalidSpecError
from tests.unit.plan.fleets import plan

if TYPE_CHECKING:
    from farm.services.plan import Plan
    from tests.fakes import InMemoryDatabase


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
