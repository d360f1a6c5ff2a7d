"""The way of an export: load, run, export, fold, name, check, compare, and only then file."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.domain.error_texts import one_line
from farm.domain.errors import (
    AccuracyError,
    FarmError,
    InvalidModelError,
    InvalidRequestError,
    InvalidSpecError,
)
from workers.export import dynamo, graph, legacy, opsets
from workers.export.agreement import ExportedModel, check_agreement, shapes_text
from workers.export.binding import bind_forward
from workers.export.inputs import symbol_sizes
from workers.export.kept_program import keep_program
from workers.export.load import load_model
from workers.export.older_opset import converted
from workers.export.outputs import named_outputs, renamed
from workers.export.program import bind_program
from workers.export.request import Exported, Exporter
from workers.export.samples import capture_sizes, make_sample, other_sizes
from workers.export.sources import SourceKind
from workers.export.torch_import import load_torch, user_prints_aside
from workers.export.trail import ModuleTrail, in_module
from workers.export.user_code import told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from workers.export.opsets import Way
    from workers.export.request import Comparison, ExportRequest

#: Samples of the user's own sizes where the tracer warned that it may have kept one branch of several.
_MORE_SAMPLES = 5
#: ONNX 1.12, which brought opset 17, wrote IR version 8.
_OLD_OPSET, _OLD_IR = 17, 8


def export(request: ExportRequest, tell: Callable[[str], None] = lambda _line: None) -> Exported:
    """Exports a model; the file appears only when it is checked and agrees with PyTorch.

    Args:
        request: what to export.
        tell: called with a line for people before each longer step.

    Raises:
        InvalidRequestError: the request or the user's code is wrong, or the exporter can not do it.
        AccuracyError: the exported model computes something else.
    """
    ways = opsets.ways(request)
    check_path(request.path)
    torch = load_torch()
    tell(f"loading {request.source.text}")
    loaded = load_model(request.source, request.weights, request.seed)
    is_program = request.source.kind is SourceKind.PROGRAM
    model = loaded.module() if is_program else loaded
    binding: Any = (
        bind_program(torch, loaded, request.inputs, request.dynamic)
        if is_program
        else bind_forward(model, request.inputs, request.dynamic, _usual_dtype(torch, model))
    )
    run = _Runner(torch, model, loaded if is_program else None, binding, request)
    with torch.no_grad():
        exported = _first_that_works(run, ways, tell)
        if request.program_path is not None:
            tell("keeping the PyTorch model for the baselines")
            sample = make_sample(torch, binding.specs, capture_sizes(binding.specs), request.seed)
            keep_program(torch, run.model, run.program, binding, sample, list(run.outputs(sample)), request)
        return exported


def check_path(path: Path) -> None:
    """Refuses a place where no ONNX file belongs, such as the user's own source.

    Raises:
        InvalidSpecError: it is such a place.
    """
    if path.is_dir():
        raise InvalidSpecError(f"{path} is a folder", hint=f"Name a file: -o {path / 'model.onnx'}")
    if path.suffix != ".onnx":
        raise InvalidSpecError(
            f"an exported model goes into a file whose name ends in .onnx, not into {path.name!r}",
            hint=f"-o {path.stem or 'model'}.onnx",
        )
    if not path.parent.is_dir():
        raise InvalidSpecError(f"{path.parent}: no such folder")


def _first_that_works(run: _Runner, ways: Sequence[Way], tell: Callable[[str], None]) -> Exported:
    """The result of the first way that leads to a file; the first way's error if none does."""
    errors: list[FarmError] = []
    for way in ways:
        tell(f"exporting with {way}")
        try:
            exported = _export(run, way, tell)
        except (InvalidModelError, AccuracyError) as error:
            errors.append(error)
            if len(ways) > len(errors):
                tell(f"that did not do: {error.message}")
            continue
        before = tuple(f"the legacy exporter could not do it: {error.message}" for error in errors)
        return replace(exported, notes=(*before, *exported.notes))
    if len(errors) == 1:
        raise errors[0]
    first, second = errors
    raise type(first)(
        first.message, hint=f"The dynamo exporter can not do it either: {second.message}"
    ) from first


def _export(run: _Runner, way: Way, tell: Callable[[str], None]) -> Exported:
    torch, request, specs = run.torch, run.request, run.binding.specs
    traced = make_sample(torch, specs, capture_sizes(specs), request.seed)
    outputs = list(run.outputs(traced))
    with tempfile.TemporaryDirectory(prefix=".farm-export-", dir=request.path.parent) as scratch:
        warned: tuple[str, ...] = ()
        if way.exporter is Exporter.DYNAMO:
            program = run.program or dynamo.capture(torch, run.model, run.binding, traced)
            ir = dynamo.convert(torch, program, run.model, way.written_opset)
        else:
            raw = Path(scratch) / "traced.onnx"
            warned = legacy.trace(
                torch, run.model, run.binding, traced, output_names=outputs, opset=way.opset, path=raw
            )
            ir = graph.read_graph(raw)
        _check_opset(ir, way.written_opset)
        folded = graph.fold_constants(ir)
        if way.written_opset != way.opset:
            ir = converted(ir, way.opset)
            graph.fold_constants(ir)
        graph.strip(ir)
        if way.opset <= _OLD_OPSET:
            # The file format of that time: parsers that know no newer operators warn of newer formats.
            ir.ir_version = min(ir.ir_version, _OLD_IR)
        unused = graph.set_names(ir, specs, outputs)
        path = Path(scratch) / "made" / request.path.name
        path.parent.mkdir()
        graph.save(ir, path)
        del ir
        _check_file(path)
        notes = [
            *warned,
            *(f"the model has no use for input {name!r}: the file is without it" for name in unused),
        ]
        comparisons: tuple[Comparison, ...] = ()
        if request.compares:
            tell("comparing with PyTorch")
            comparisons = _compared(run, path, notes, samples=_MORE_SAMPLES if warned else 1)
        notes += _move(path, request.path)
    return Exported(request.path, way.exporter, way.why, way.opset, folded, comparisons, tuple(notes))


class _Runner:
    """PyTorch's own answers."""

    def __init__(self, torch: Any, model: Any, program: Any, binding: Any, request: ExportRequest) -> None:
        self.torch, self.model, self.program = torch, model, program
        self.binding, self.request = binding, request

    def outputs(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Named outputs.

        Raises:
            InvalidRequestError: the model does not run on these inputs; says where.
        """
        trail = ModuleTrail(self.model)
        try:
            with user_prints_aside(), trail:
                found = self.binding.call(self.model, tensors)
        except (Exception, SystemExit) as error:
            hint = (
                "Token ids are whole numbers: --input NAME=SHAPE:int64:0..LARGEST."
                if "indices" in str(error) or "index out of range" in str(error)
                else "Do the shapes and types of --input fit the model?"
            )
            raise InvalidRequestError(
                f"the model does not run on {shapes_text(tensors)}: {told(error)} ({in_module(trail.path, self.model)})",
                hint=hint,
            ) from error
        taken = [spec.name for spec in self.binding.specs]
        return renamed(named_outputs(self.torch, found, taken), self.request.output_names)


def _compared(run: _Runner, path: Path, notes: list[str], *, samples: int) -> tuple[Comparison, ...]:
    """At the sample's own sizes, and at others, or with other values where none may change."""
    specs, request, torch = run.binding.specs, run.request, run.torch
    exported = ExportedModel(path)
    sample = make_sample(torch, specs, symbol_sizes(specs), request.seed)
    found = [check_agreement(exported, sample, run.outputs(sample), request.tolerance)]
    for more in range(2, samples + 1):
        sample = make_sample(torch, specs, symbol_sizes(specs), request.seed + more)
        found.append(check_agreement(exported, sample, run.outputs(sample), request.tolerance))
    candidates = list(other_sizes(specs)) or [{}]
    for sizes in candidates:
        sample = make_sample(torch, specs, sizes, request.seed + 1)
        try:
            expected = run.outputs(sample)
        except InvalidRequestError as error:
            refusal = error.message
            continue
        found.append(check_agreement(exported, sample, expected, request.tolerance))
        break
    else:
        notes.append(f"not compared at any other size, since PyTorch takes none: {refusal}")
    return tuple(found)


def _usual_dtype(torch: Any, model: Any) -> str:
    """The element type of the model's own weights."""
    found = next((p.dtype for p in model.parameters() if p.dtype.is_floating_point), torch.float32)
    return str(found).removeprefix("torch.")


def _check_opset(ir: Any, wanted: int) -> None:
    found = ir.opset_imports.get("", wanted)
    if found != wanted:
        raise InvalidModelError(
            f"the exporter wrote opset {found} where {wanted} was wanted: its converter can not do it",
            hint=f"--opset {found}, or --exporter legacy.",
        )


def _check_file(path: Path) -> None:
    import onnx

    try:
        # By its path: a model with external data may be larger than protobuf's limit.
        onnx.checker.check_model(str(path), full_check=False)
    except Exception as error:
        raise InvalidModelError(f"the exporter wrote a graph that is not valid: {one_line(error)}") from error


def _move(made: Path, wanted: Path) -> list[str]:
    """Weights first, so that the graph never stands without them; says what was replaced, and what is left of it."""
    notes = [f"{wanted.name} was there already, and was replaced"] if wanted.exists() else []
    data = made.with_name(f"{made.name}.data")
    beside = wanted.with_name(data.name)
    has_data = data.exists()
    if has_data:
        data.replace(beside)
    made.replace(wanted)
    if beside.exists() and not has_data:
        notes.append(f"{beside} is of an earlier export: {wanted.name} does not use it")
    return notes
