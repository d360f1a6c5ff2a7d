"""What every known target would make of a model: with which precisions it builds it, and why not with the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.calibration import USUAL_RANDOM_SAMPLES, Calibration, is_calibrated
from farm.domain.precisions import PRECISIONS
from farm.services.plan import BuildRequest, cell_label, sort_cells
from farm.services.targets import ALL, resolve_targets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm.domain.models import Model
    from farm.domain.shapes import Shape
    from farm.domain.targets import ToolchainId
    from farm.domain.toolchains import ToolchainDescription
    from farm.services.ports import Transaction

#: The first TensorRT with INT64 (reference: DataType of 8.6 and of 10.0).
_FIRST_WITH_INT64 = (10, 0)


@dataclass(frozen=True)
class TargetReport:
    """One target.

    Attributes:
        slug: of the device type.
        toolchain: of the target.
        builds: precisions that it builds the model with.
        calibrated: those of them that want samples.
        refused: the others, each with the reason.
        notes: what else is different there.
    """

    slug: str
    toolchain: ToolchainId
    builds: tuple[str, ...]
    calibrated: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def report_targets(transaction: Transaction, model: Model, shapes: Mapping[str, Shape]) -> list[TargetReport]:
    """The report of every target that is known, at some shapes of the dynamic inputs.

    Raises:
        InvalidSpecError: the shapes do not fit.
        UnsupportedTargetError: no device is known to the farm yet.
    """
    found = []
    for slug, target, toolchain in resolve_targets(transaction, (), (ALL,)):
        reasons = _reasons(transaction, model, shapes, slug, target.toolchain)
        too_new = _why_not_opset(toolchain, model)
        if too_new:
            reasons = dict.fromkeys(PRECISIONS, too_new)
        builds = tuple(precision for precision in PRECISIONS if not reasons[precision])
        found.append(
            TargetReport(
                slug,
                target.toolchain,
                builds,
                tuple(precision for precision in builds if is_calibrated(precision, model)),
                tuple((precision, reason) for precision, reason in reasons.items() if reason),
                tuple(_notes(target.toolchain, model)),
            )
        )
    return found


def _reasons(
    transaction: Transaction, model: Model, shapes: Mapping[str, Shape], slug: str, toolchain: ToolchainId
) -> dict[str, str]:
    """For every precision why a target refuses it; empty if it does not."""
    given = (shapes,) if shapes else ()
    request = BuildRequest(
        gpus=(slug,),
        toolchains=(f"{toolchain.name}@{toolchain.version}",),
        precisions=PRECISIONS,
        min_shapes=given,
        opt_shapes=given,
        max_shapes=given,
        # What needs samples is refused without, and those are easily given.
        calibration=Calibration("", 1, USUAL_RANDOM_SAMPLES, 0),
    )
    plan, _ = sort_cells(transaction, model, request)
    refused = dict(plan.refused)
    return {precision: refused.get(cell_label(slug, toolchain, precision), "") for precision in PRECISIONS}


def _why_not_opset(toolchain: ToolchainDescription, model: Model) -> str:
    if not 0 < toolchain.max_opset < model.opset:
        return ""
    return (
        f"the model is of opset {model.opset}, and the parser of {toolchain.id} knows {toolchain.max_opset} at most: "
        f"export it for opset {toolchain.max_opset}"
    )


def _notes(toolchain: ToolchainId, model: Model) -> list[str]:
    if toolchain.name != "tensorrt" or toolchain.version_order[:2] >= _FIRST_WITH_INT64:
        return []
    names = [tensor.name for tensor in (*model.inputs, *model.outputs) if tensor.dtype == "int64"]
    return [f"{', '.join(names)}: int64 in the model, int32 in an engine of {toolchain}"] if names else []
