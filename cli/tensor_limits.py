"""Cells whose tensors a toolchain can not run: found before anything is queued."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from farm.domain.models import Model
    from farm.domain.shapes import Shape, ShapeRange
    from farm.domain.targets import ToolchainId
    from farm.services.plan import Plan


def without_large_tensors(path: Path, model: Model, plan: Plan, *, skip_unsupported: bool) -> Plan:
    """The plan, its cells checked at the largest shapes of their profiles.

    Args:
        path: of the graph.
        model: as it was read.
        plan: what would be queued.
        skip_unsupported: leave cells out that can not run there, instead of refusing.

    Raises:
        UnsupportedTargetError: a tensor is too large for a toolchain, or for all of them.
    """
    from farm.domain.errors import UnsupportedTargetError

    # Cells differ in precision and device; the tensors are those of toolchain and profiles, and a graph is read once for each.
    reasons: dict[tuple[ToolchainId, str], str] = {}
    refused = []
    for cell in plan.cells:
        toolchain, profiles = cell.spec.target.toolchain, cell.spec.profiles or ({},)
        key = toolchain, repr(profiles)
        if key not in reasons:
            found = (_why_too_large(path, model, toolchain, profile) for profile in profiles)
            reasons[key] = next(filter(None, found), "")
        if reasons[key]:
            refused.append((cell, reasons[key]))
    if not refused:
        return plan
    if not skip_unsupported or len(refused) == len(plan.cells):
        raise UnsupportedTargetError(
            f"{refused[0][0].label}: {refused[0][1]}",
            hint="Give smaller --batch or --max-shapes; `farm inspect MODEL --batch N` estimates a batch.",
        )
    left = {cell.label for cell, _ in refused}
    return replace(
        plan,
        cells=tuple(cell for cell in plan.cells if cell.label not in left),
        refused=(*plan.refused, *((cell.label, reason) for cell, reason in refused)),
    )


def _why_too_large(
    path: Path, model: Model, toolchain: ToolchainId, profile: Mapping[str, ShapeRange]
) -> str:
    from farm.domain.errors import FarmError
    from farm.domain.model_formats import ONNX
    from farm.domain.tensor_limits import has_tensor_limit, may_be_too_large, why_too_large

    if model.format != ONNX or not has_tensor_limit(toolchain):
        return ""
    shapes: dict[str, Shape] = {
        tensor.name: profile[tensor.name].max if tensor.is_dynamic else tensor.shape
        for tensor in model.inputs
        if tensor.name in profile or not tensor.is_dynamic
    }
    if len(shapes) < len(model.inputs) or not may_be_too_large(shapes):
        return ""
    from farm.storage.onnx_estimate import estimate

    try:
        return why_too_large(toolchain, estimate(path, shapes))
    except FarmError:
        # Nothing is known then; the toolchain will say what it thinks of the model.
        return ""
