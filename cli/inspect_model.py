"""`farm inspect MODEL`: what it consists of, what it would take, and what each target makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.context import opened
from cli.model_documents import model_as_json, tensor_row
from cli.render import NONE, show_json, show_line, show_note, show_table, size
from cli.tables import refusals
from farm.domain.errors import FarmError, InvalidSpecError, UnsupportedTargetError
from farm.domain.shapes import DYNAMIC, check_size, parse_shapes, shape_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import click

    from farm.domain.estimates import Estimate
    from farm.domain.models import Model, Tensor
    from farm.domain.shapes import Shape
    from farm.services.target_report import TargetReport


def show_model(
    ctx: click.Context,
    path: Path,
    *,
    batch: int | None,
    shapes: str | None,
    with_targets: bool | None,
    as_json: bool,
) -> None:
    """Shows a model's file.

    Args:
        ctx: of the command, for its farm.
        path: of the model.
        batch: size of the first dimension that is open, to estimate at.
        shapes: of inputs, in a user's words; they win over the batch.
        with_targets: whether to ask what targets make of it; none for "if there is a farm".
        as_json: for programs.

    Raises:
        InvalidModelError: the file can not be taken.
        InvalidSpecError: a shape does not fit.
    """
    from farm.storage.model_files import read_model

    model = read_model(path)
    wanted = input_shapes(model, batch, parse_shapes(shapes) if shapes else {})
    found, why_none = _estimate(path, model, wanted)
    reports, notes = _targets(ctx, model, wanted, with_targets)
    if as_json:
        show_json(
            {
                **model_as_json(model),
                "estimate": found.as_json() if found else None,
                "no_estimate": why_none or None,
                "targets": None if reports is None else [_report_as_json(report) for report in reports],
            }
        )
        return
    _show_facts(path, model)
    show_line()
    _show_estimate(found, why_none)
    for note in notes:
        show_note(note)
    if reports is not None:
        show_line()
        _show_targets(reports)
    dynamic = [tensor for tensor in model.inputs if tensor.is_dynamic]
    if dynamic:
        show_line()
        show_line(f"Submit it with {_advice(dynamic)}")


def _show_facts(path: Path, model: Model) -> None:
    show_line(
        f"{path.name}   {model.digest.short}   {size(model.digest.size_bytes)} in {len(model.files)} file(s)"
    )
    show_line(
        (f"opset {model.opset}, IR {model.ir_version}" if model.opset else model.format)
        + f", {model.parameters:,} parameters"
        + (f", by {model.producer}" if model.producer else "")
    )
    rows = [("input", *tensor_row(tensor)) for tensor in model.inputs]
    rows += [("output", *tensor_row(tensor)) for tensor in model.outputs]
    show_line()
    show_table(["", "name", "type", "shape", ""], rows)
    if model.operators:
        show_line()
        operators = sorted(model.operators.items(), key=lambda item: (-item[1], item[0]))
        show_table(["operator", "nodes>"], operators)


def input_shapes(model: Model, batch: int | None, given: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shape of every input: as given, else with the batch in the first dimension, if nothing more is open.

    Raises:
        InvalidSpecError: there is no such input, or the batch is more than a dimension can have.
    """
    check_size(batch or 1)
    names = {tensor.name for tensor in model.inputs}
    unknown = sorted(set(given) - names)
    if unknown:
        raise InvalidSpecError(
            f"the model has no input {unknown[0]!r}", hint=f"Its inputs: {', '.join(sorted(names))}."
        )
    found = {}
    for tensor in model.inputs:
        shape = given.get(tensor.name)
        if shape is None and tensor.shape[:1] == (DYNAMIC,):
            shape = (batch or 1, *tensor.shape[1:])
        found[tensor.name] = tensor.shape if shape is None else shape
    return found


def _estimate(path: Path, model: Model, shapes: Mapping[str, Shape]) -> tuple[Estimate | None, str]:
    """The estimate, or why there is none."""
    if model.format != "onnx":
        return None, f"models of format {model.format} are not estimated"
    still_open = [name for name, shape in shapes.items() if DYNAMIC in shape]
    if still_open:
        example = ",".join(f"{name}:{_with_blanks(shapes[name])}" for name in still_open)
        return None, f"more than the batch is dynamic; give --shapes {example}"
    from farm.domain.errors import InvalidModelError
    from farm.storage.onnx_estimate import estimate

    try:
        return estimate(path, shapes), ""
    except InvalidModelError as error:
        return None, error.message


def _show_estimate(found: Estimate | None, why_none: str) -> None:
    if found is None:
        show_line(f"no estimate: {why_none}")
        return
    at = ", ".join(f"{name}:{shape_text(shape)}" for name, shape in found.shapes.items())
    memory = found.weights_bytes + found.peak_activation_bytes
    show_line(f"estimate at {at or 'no inputs'} (an engine fuses, folds and keeps less)")
    show_line(f"  {_flops(found.flops)} (a multiplication with an addition is two)")
    show_line(
        f"  {size(memory)} = weights {size(found.weights_bytes)}"
        f" + peak activations {size(found.peak_activation_bytes)}, in the model's own types"
    )
    if found.uncounted:
        names = ", ".join(f"{name} ({count})" for name, count in found.uncounted.items())
        show_line(f"  not counted: {names}")
    if found.open_tensors:
        show_line(f"  {found.open_tensors} tensor(s) have no known size and are in no sum")


def _flops(count: int) -> str:
    for unit, factor in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= factor:
            return f"{count / factor:.2f} {unit}FLOP"
    return f"{count} FLOP"


def _targets(
    ctx: click.Context, model: Model, shapes: Mapping[str, Shape], wanted: bool | None
) -> tuple[list[TargetReport] | None, list[str]]:
    """What every known target makes of it, and what a user should know of that; none without a farm."""
    if wanted is False:
        return None, []
    from farm.services.target_report import report_targets

    dynamic = {tensor.name for tensor in model.inputs if tensor.is_dynamic}
    try:
        farm = opened(ctx)
    except FarmError:
        if wanted:
            raise
        return None, []
    try:
        with farm.database.reading() as transaction:
            chosen = {name: shape for name, shape in shapes.items() if name in dynamic}
            if any(DYNAMIC in shape for shape in chosen.values()):
                return None, ["What targets make of it is said once --shapes are given."] if wanted else []
            return report_targets(transaction, model, chosen), []
    except (InvalidSpecError, UnsupportedTargetError) as error:
        # No device is known yet, or the model can not be planned at all: it is worth a note beside the rest.
        if wanted:
            raise
        return None, [f"targets: {error.message}"]


def _show_targets(reports: Sequence[TargetReport]) -> None:
    from farm.services.plan import cell_label

    show_table(
        ["device type", "toolchain", "builds it with"],
        [[report.slug, str(report.toolchain), _builds(report)] for report in reports],
    )
    if any(report.calibrated for report in reports):
        show_line("* wants samples: --calibration")
    refused = [
        (cell_label(report.slug, report.toolchain, precision), reason)
        for report in reports
        for precision, reason in report.refused
    ]
    for line in refusals(refused):
        show_line(line.replace("left out: ", "refused: ", 1))
    for note in dict.fromkeys(note for report in reports for note in report.notes):
        show_line(f"note: {note}")


def _builds(report: TargetReport) -> str:
    words = [f"{name}*" if name in report.calibrated else name for name in report.builds]
    return ", ".join(words) or NONE


def _report_as_json(report: TargetReport) -> dict[str, Any]:
    return {
        "device_type": report.slug,
        "toolchain": str(report.toolchain),
        "builds": list(report.builds),
        "calibrated": list(report.calibrated),
        "refused": dict(report.refused),
        "notes": list(report.notes),
    }


def _with_blanks(shape: Shape) -> str:
    return "x".join("…" if dim == DYNAMIC else str(dim) for dim in shape)


def _advice(dynamic: list[Tensor]) -> str:
    if all(tensor.shape[0] == -1 and -1 not in tensor.shape[1:] for tensor in dynamic):
        return "--batch 1,8,32 (only the batch is dynamic)."
    shapes = ",".join(f"{tensor.name}:{_with_blanks(tensor.shape)}" for tensor in dynamic)
    return f"--min-shapes, --opt-shapes and --max-shapes {shapes}"
