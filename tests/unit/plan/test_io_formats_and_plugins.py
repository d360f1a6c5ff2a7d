"""I/O formats and plugins stand in the key of every cell that can have them, and others are refused by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.errors import InvalidSpecError, UnsupportedTargetError
from farm.domain.io_formats import FORMATS
from farm.domain.shapes import ShapeRange
from tests.factories import a_digest, a_model, a_tensor
from tests.fakes import InMemoryDatabase
from tests.unit.plan.fleets import ANY_SM89, CPU, H200, ORT, RTX, TRT8, plan

if TYPE_CHECKING:
    from farm.services.plan import Plan

WORDS, TYPES = tuple(FORMATS), ("fp32", "fp16", "int8")
LIBRARY = a_digest("libplugin.so").sha256


@pytest.fixture
def typed_fleet() -> InMemoryDatabase:
    """TensorRT 8, where types can be chosen; TensorRT-RTX, where formats can; and a CPU, where neither can."""
    database = InMemoryDatabase()
    with database.transaction() as transaction:
        can = {"io_formats": WORDS, "takes_plugins": True}
        transaction.fleet.describe(
            [H200, ANY_SM89], [replace(TRT8, io_types=TYPES, **can), replace(RTX, **can)]
        )
        transaction.fleet.describe([CPU], [ORT])
    return database


def only(found: Plan) -> Any:
    (cell,) = found.cells
    return cell.spec


def test_formats_are_canonical_in_the_key(typed_fleet: InMemoryDatabase) -> None:
    plain = only(plan(typed_fleet, gpus=("h200",)))
    same = only(plan(typed_fleet, gpus=("h200",), io_formats={"input": "fp32:chw"}))
    assert same.digest == plain.digest
    vectors = only(plan(typed_fleet, gpus=("h200",), io_formats={"input": "chw32"}))
    spelled = only(plan(typed_fleet, gpus=("h200",), io_formats={"input": "fp32:chw32"}))
    assert vectors.digest == spelled.digest != plain.digest
    assert vectors.as_json()["io_formats"] == {"input": "fp32:chw32"}
    assert "io_formats" not in plain.as_json()


def test_where_types_are_the_models_a_cell_is_refused_by_the_tensors_name(
    typed_fleet: InMemoryDatabase,
) -> None:
    wish = {"io_formats": {"input": "fp16:chw16"}}
    with pytest.raises(UnsupportedTargetError, match="'input' is fp32, not fp16; export the model with"):
        plan(typed_fleet, gpus=("h200", "sm89"), **wish)
    found = plan(typed_fleet, gpus=("h200", "sm89"), skip_unsupported=True, **wish)
    assert only(found).io_formats == {"input": "fp16:chw16"}


def test_a_cpu_has_neither_formats_nor_plugins(typed_fleet: InMemoryDatabase) -> None:
    with pytest.raises(
        UnsupportedTargetError, match=r"onnxruntime 1\.23\.2 has no I/O formats: 'input' stays"
    ):
        plan(typed_fleet, gpus=("cpu",), io_formats={"input": "chw32"})
    with pytest.raises(UnsupportedTargetError, match=r"onnxruntime 1\.23\.2 takes no plugin libraries"):
        plan(typed_fleet, gpus=("cpu",), plugins=(LIBRARY,))


def test_a_format_that_does_not_fit_the_model_is_wrong_for_every_cell(typed_fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="no input or output 'inptu'"):
        plan(typed_fleet, gpus=("h200",), io_formats={"inptu": "fp16:chw"}, skip_unsupported=True)


def test_plugins_stand_in_the_key_in_their_order(typed_fleet: InMemoryDatabase) -> None:
    other = a_digest("other.so").sha256
    keys = {
        only(plan(typed_fleet, gpus=("h200",), plugins=plugins)).digest
        for plugins in ((), (LIBRARY,), (LIBRARY, other), (other, LIBRARY))
    }
    assert len(keys) == 4
    assert only(plan(typed_fleet, gpus=("h200",), plugins=(LIBRARY,))).as_json()["plugins"] == [LIBRARY]


def test_several_profiles_are_in_the_key_in_their_order(typed_fleet: InMemoryDatabase) -> None:
    model = a_model(inputs=(a_tensor("x", (-1, 3, -1, -1)),))
    shapes = [{"x": (1, 3, 8, 8)}, {"x": (4, 3, 16, 16)}]
    wish = {"gpus": ("h200",), "batches": ()}
    found = plan(typed_fleet, model, opt_shapes=tuple(shapes), **wish)
    assert only(found).profiles == tuple(
        {"x": ShapeRange(shape["x"], shape["x"], shape["x"])} for shape in shapes
    )
    assert found.batches == (1, 4)
    other = plan(typed_fleet, model, opt_shapes=tuple(shapes[::-1]), **wish)
    assert only(other).digest != only(found).digest


def test_every_batch_lies_in_a_profile(typed_fleet: InMemoryDatabase) -> None:
    model = a_model(inputs=(a_tensor("x", (-1, 3, -1, -1)),))
    shapes = ({"x": (1, 3, 8, 8)}, {"x": (4, 3, 16, 16)})
    assert plan(typed_fleet, model, gpus=("h200",), opt_shapes=shapes, batches=(4, 1)).batches == (4, 1)
    with pytest.raises(InvalidSpecError, match="batch 2 is outside all 2 optimization profiles"):
        plan(typed_fleet, model, gpus=("h200",), opt_shapes=shapes, batches=(2,))
