"""What every known target would make of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.precisions import PRECISIONS
from farm.services.target_report import TargetReport, report_targets
from tests.factories import a_model, a_tensor, a_toolchain
from tests.unit.plan.fleets import H200

if TYPE_CHECKING:
    from farm.domain.models import Model
    from tests.fakes import InMemoryDatabase

SHAPES = {"input": (1, 3, 8, 8)}


def reports(fleet: InMemoryDatabase, model: Model | None = None, **shapes: Any) -> dict[str, TargetReport]:
    with fleet.reading() as transaction:
        found = report_targets(transaction, model or a_model(), shapes or SHAPES)
    return {f"{report.slug} {report.toolchain}": report for report in found}


def test_every_target_is_reported_with_every_precision(fleet: InMemoryDatabase) -> None:
    found = reports(fleet)
    assert {"nvidia-h200 tensorrt 8.6.0", "nvidia-l4 tensorrt 10.13.3", "any-sm89 tensorrt-rtx 1.7.1"} <= set(
        found
    )
    for report in found.values():
        assert set(report.builds) | {precision for precision, _ in report.refused} == set(PRECISIONS)


def test_what_is_refused_has_its_reason_without_the_cell_before_it(fleet: InMemoryDatabase) -> None:
    refused = dict(reports(fleet)["nvidia-h200 tensorrt 8.6.0"].refused)
    assert refused["fp8"] == "this version has no fp8"


def test_a_target_that_refuses_everything_says_why_for_each(fleet: InMemoryDatabase) -> None:
    nothing = a_toolchain(version="7.0", precisions=dict.fromkeys(PRECISIONS, "it is too old"))
    with fleet.transaction() as transaction:
        transaction.fleet.describe([H200], [nothing])
    report = reports(fleet)["nvidia-h200 tensorrt 7.0"]
    assert report.builds == ()
    assert dict(report.refused) == dict.fromkeys(PRECISIONS, "it is too old")


def test_what_wants_samples_is_marked_and_not_refused(fleet: InMemoryDatabase) -> None:
    report = reports(fleet)["nvidia-h200 tensorrt 8.6.0"]
    assert "int8" in report.builds
    assert "int8" in report.calibrated
    assert "fp16" not in report.calibrated


def test_a_model_of_a_newer_opset_is_refused_by_the_parser_that_does_not_know_it(
    fleet: InMemoryDatabase,
) -> None:
    report = reports(fleet, a_model(opset=21))["nvidia-h200 tensorrt 8.6.0"]
    assert report.builds == ()
    assert all("opset 21" in reason and "17 at most" in reason for _, reason in report.refused)


def test_int64_of_a_model_is_int32_before_tensorrt_10(fleet: InMemoryDatabase) -> None:
    model = a_model(inputs=(a_tensor("tokens", (-1, 16), "int64"),))
    found = reports(fleet, model, tokens=(1, 16))
    assert any("tokens: int64" in note for note in found["nvidia-h200 tensorrt 8.6.0"].notes)
    assert found["nvidia-h200 tensorrt 10.13.3"].notes == ()


def test_shapes_that_do_not_fit_are_an_error(fleet: InMemoryDatabase) -> None:
    with pytest.raises(InvalidSpecError):
        reports(fleet, input=(1, 3, 8))
