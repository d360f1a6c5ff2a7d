"""Refits: where only the weights changed, a filed engine gets the new ones in seconds, and the build follows behind."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm.domain.filing import Engine
    from farm.domain.models import Model
    from farm.domain.specs import BuildSpec
    from farm.services.plan import Plan, PlannedCell
    from farm.services.ports import Transaction

#: The builder option with which an engine's weights can be replaced.
REFIT_OPTION = "refit"


def with_refits(transaction: Transaction, model: Model, plan: Plan) -> Plan:
    """A plan with a refit before every cell that can have one; the cells themselves stay.

    A cell can have one where its engine would be refittable and is not filed yet, and an engine is filed that
    differs in the model alone, which has the same structure.
    """
    alike = transaction.models.alike(model)
    known = {
        engine.spec.digest.sha256: engine
        for sha256 in alike
        for engine in transaction.engines.engines(model_sha256=sha256)
        if engine.is_signed and engine.is_verified
    }
    filed = transaction.engines.find_all([cell.spec for cell in plan.cells])
    cells: list[PlannedCell] = []
    notes = list(plan.notes)
    for cell in plan.cells:
        if cell.spec.digest.sha256 not in filed:
            base = _base_of(cell.spec, alike, known)
            if base is not None:
                cells.append(replace(cell, spec=replace(cell.spec, refit_of=base.digest.sha256)))
            else:
                why = _why_not(cell.spec, alike)
                notes.append(f"{cell.label}: {why}")
        cells.append(cell)
    return replace(plan, cells=tuple(cells), notes=tuple(notes))


def _base_of(spec: BuildSpec, alike: list[str], known: dict[str, Engine]) -> Engine | None:
    """The engine to begin with: of the newest model that has one."""
    if not spec.builder_config.get(REFIT_OPTION):
        return None
    keys = (replace(spec, model_sha256=sha256).digest.sha256 for sha256 in alike)
    return next((known[key] for key in keys if key in known), None)


def _why_not(spec: BuildSpec, alike: list[str]) -> str:
    if not spec.builder_config.get(REFIT_OPTION):
        return f"no refit, for its engine is not refittable (--set {REFIT_OPTION}=true, where the toolchain has it)"
    if not alike:
        return "no refit, for no other model of this structure is filed"
    return "no refit, for no engine with these options is filed of a model with this structure"
