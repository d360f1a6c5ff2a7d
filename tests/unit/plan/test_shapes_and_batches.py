"""How shapes and batches make a profile, and what is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.shapes import ShapeRange
from tests.factories import a_model, a_shape_range, a_tensor
from tests.unit.plan.fleets import plan

if TYPE_CHECKING:
    from farm.services.plan import Plan
    from tests.fakes import InMemoryDatabase


def profile_of(found: Plan) -> Any:
    (profile,) = {str(cell.spec.profiles): cell.spec.profiles for cell in found.cells}.values()
    return profile


def test_batches_make_the_profile_and_are_measured_as_asked(fleet: InMemoryDatabase) -> None:
    found = plan(fleet, batches=(16, 1, 8, 1))
    assert profile_of(found) == ({"input": a_shape_range(1, 8, 16)},)
    assert found.batches == (16, 1, 8)


def test_shapes_make_the_profile_and_its_bounds_are_measured(fleet: InMemoryDatabase) -> None:
    shapes = {
        f"{name}_shapes": ({"input": (batch, 3, 8, 8)},)
        for name, batch in [("min", 2), ("opt", 4), ("max", 8)]
    }
    found = plan(fleet, batches=(), **shapes)
    assert profile_of(found) == ({"input": a_shape_range(2, 4, 8)},)
    assert found.batches == (2, 4, 8)


def test_batches_beside_shapes_are_measured_within_them(fleet: InMemoryDatabase) -> None:
    shapes = {"min_shapes": ({"input": (1, 3, 8, 8)},), "max_shapes": ({"input": (8, 3, 8, 8)},)}
    assert plan(fleet, batches=(3,), **shapes).batches == (3,)
    with pytest.raises(InvalidSpecError, match="batch 9 is outside the profile"):
        plan(fleet, batches=(9,), **shapes)


def test_a_static_model_has_no_profile_and_its_own_batch(fleet: InMemoryDatabase) -> None:
    found = plan(fleet, a_model(inputs=(a_tensor("input", (4, 3, 8, 8)),)), batches=())
    assert profile_of(found) == ()
    assert found.batches == (4,)


def test_a_static_model_whose_inputs_differ_in_their_first_size_can_be_planned(
    fleet: InMemoryDatabase,
) -> None:
    unet = a_model(
        inputs=(a_tensor("sample", (2, 4, 64, 64)), a_tensor("step", (1,)), a_tensor("text", (2, 77)))
    )
    assert plan(fleet, unet, batches=()).batches == (2,)


def test_a_model_of_scalars_runs_at_batch_one(fleet: InMemoryDatabase) -> None:
    assert plan(fleet, a_model(inputs=(a_tensor("step", ()),)), batches=()).batches == (1,)


def test_a_batch_that_a_static_model_does_not_have_is_refused(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="fixed at 4"):
        plan(fleet, a_model(inputs=(a_tensor("input", (4, 3, 8, 8)),)), batches=(8,))


def test_a_batch_that_stands_still_beside_a_dynamic_sequence_is_refused(fleet: InMemoryDatabase) -> None:
    model = a_model(inputs=(a_tensor("ids", (1, -1)),))
    with pytest.raises(InvalidSpecError, match="fixed at 1"):
        plan(fleet, model, batches=(8,), opt_shapes=({"ids": (1, 128)},))
    assert profile_of(plan(fleet, model, batches=(), opt_shapes=({"ids": (1, 128)},))) == (
        {"ids": ShapeRange((1, 128), (1, 128), (1, 128))},
    )


def test_a_dynamic_model_needs_shapes_or_batches(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="needs shapes"):
        plan(fleet, batches=())


def test_a_batch_below_one_is_refused(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="start at 1"):
        plan(fleet, batches=(0, 1))
