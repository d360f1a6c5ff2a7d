"""A plan has a cell for every target and precision, and writes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from farm.domain.calibration import Calibration
from farm.domain.errors import InvalidSpecError, UnsupportedTargetError
from tests.factories import a_model
from tests.unit.plan.fleets import cells, plan

if TYPE_CHECKING:
    from tests.fakes import InMemoryDatabase


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    gpus=st.lists(st.sampled_from(["h200", "l4"]), min_size=1, unique=True),
    toolchains=st.lists(
        st.sampled_from(["tensorrt@8", "tensorrt@9", "tensorrt@10"]), min_size=1, unique=True
    ),
    precisions=st.lists(st.sampled_from(["fp32", "tf32", "fp16", "bf16", "int8"]), min_size=1, unique=True),
)
def test_there_is_a_cell_for_every_target_and_precision(
    fleet: InMemoryDatabase, gpus: list[str], toolchains: list[str], precisions: list[str]
) -> None:
    found = plan(
        fleet,
        gpus=tuple(gpus),
        toolchains=tuple(toolchains),
        precisions=tuple(precisions),
        calibration=Calibration(samples=8),
    )
    assert len(found.cells) == len(gpus) * len(toolchains) * len(precisions)
    assert len({cell.spec.digest for cell in found.cells}) == len(found.cells)
    assert found.refused == ()


def test_a_precision_that_is_asked_for_twice_is_one_cell(fleet: InMemoryDatabase) -> None:
    assert len(plan(fleet, gpus=("h200",), precisions=("fp16", "fp16")).cells) == 1


def test_an_unknown_precision_suggests_the_nearest(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError, match="unknown precision 'float16'") as caught:
        plan(fleet, precisions=("float16",))
    assert "fp16" in caught.value.hint


def test_a_cell_that_can_not_be_built_refuses_everything(fleet: InMemoryDatabase) -> None:
    with pytest.raises(UnsupportedTargetError, match="2 of 4 cells can not be built") as caught:
        plan(fleet, gpus=("gpu",), precisions=("fp16", "fp8"))
    assert "nvidia-l4 · tensorrt 10.13.3 · fp8: this version has no fp8" in caught.value.message
    assert "--skip-unsupported" in caught.value.hint


def test_cells_that_can_not_be_built_are_left_out_on_demand(fleet: InMemoryDatabase) -> None:
    found = plan(fleet, gpus=("h200",), precisions=("fp16", "fp8"), skip_unsupported=True)
    assert cells(found) == ["nvidia-h200 · tensorrt 10.13.3 · fp16"]
    assert found.refused == (("nvidia-h200 · tensorrt 10.13.3 · fp8", "this version has no fp8"),)


def test_leaving_every_cell_out_is_refused(fleet: InMemoryDatabase) -> None:
    with pytest.raises(UnsupportedTargetError, match="2 of 2"):
        plan(fleet, gpus=("gpu",), precisions=("fp8",), skip_unsupported=True)


def test_the_salt_goes_into_every_cell(fleet: InMemoryDatabase) -> None:
    assert {cell.spec.salt for cell in plan(fleet, salt="again").cells} == {"again"}


def test_the_model_goes_into_every_cell(fleet: InMemoryDatabase) -> None:
    model = a_model("other")
    assert {cell.spec.model_sha256 for cell in plan(fleet, model).cells} == {model.digest.sha256}


def test_a_plan_writes_nothing(fleet: InMemoryDatabase) -> None:
    plan(fleet)
    with fleet.reading() as transaction:
        assert transaction.jobs.jobs() == []
        assert transaction.models.names() == []


def test_planning_again_comes_to_the_same_keys(fleet: InMemoryDatabase) -> None:
    first, second = plan(fleet), plan(fleet, replace(a_model(), producer="another"))
    assert [cell.spec.digest for cell in first.cells] == [cell.spec.digest for cell in second.cells]
