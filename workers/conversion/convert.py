"""One conversion of a model: quantized first, then to 16 bits, then counted and written."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from farm.domain.errors import BuildError
from workers.conversion.graphs import (
    QDQ_OF_HALVES_OPSET,
    check_kept,
    check_written,
    count_halves,
    count_quantized,
    inputs_of,
    read_graph,
    why_refused,
    with_opset,
    with_shapes,
    write_graph,
)
from workers.conversion.halves import to_fp16, to_half_by_autocast
from workers.conversion.request import ConversionResult
from workers.toolchains.calibration_batches import batches_of, shape_of_batch

if TYPE_CHECKING:
    from onnx import ModelProto

    from workers.conversion.request import ConversionRequest
    from workers.toolchains.toolchain import Progress


def convert_model(request: ConversionRequest, progress: Progress) -> ConversionResult:
    """Writes the converted model, and says what was really converted.

    Raises:
        InvalidSpecError: a node to keep is unknown, or the samples do not fit.
        BuildError: the converter does not take the model, or converts nothing of it.
        AccuracyError: the converted model does not reach the thresholds.
        UnsupportedTargetError: the converter is not installed here.
    """
    wanted = request.conversion
    progress(None, f"converting to {'+'.join(filter(None, (wanted.quantized, wanted.half)))}")
    model = read_graph(request.model_path)
    check_kept(model, request.kept_layers)
    notes: list[str] = []
    details: dict[str, Any] = {"kept_layers": list(request.kept_layers)}
    with tempfile.TemporaryDirectory(dir=request.converted_path.parent) as scratch:
        if wanted.quantized:
            model, note, counts = _quantized(model, request, Path(scratch), progress)
            notes.append(note)
            details |= counts
        if wanted.half:
            model, note, counts = _halved(model, request, Path(scratch))
            notes.append(note)
            details |= counts
        write_graph(model, request.converted_path)
    was_strict = not why_refused(request.model_path, strictly=True)
    check_written(request.converted_path, strictly=was_strict)
    if request.thresholds is not None:
        from workers.conversion.agreement import compare_conversion

        progress(None, "comparing the converted model on the CPU")
        note, agreement = compare_conversion(request, request.thresholds)
        notes.append(note)
        details |= {"agreement": agreement}
    return ConversionResult(", ".join(notes), {**details, "note": ", ".join(notes)})


def _quantized(
    model: ModelProto, request: ConversionRequest, scratch: Path, progress: Progress
) -> tuple[ModelProto, str, dict[str, Any]]:
    from workers.conversion.quantize import quantize, quantize_by_modelopt

    wanted, calibration = request.conversion, request.calibration
    if calibration is None:
        raise BuildError(f"{wanted.quantized} needs samples, and the request has none")
    if wanted.half or wanted.quantized == "fp8":
        model = with_opset(model, QDQ_OF_HALVES_OPSET)
    source, quantized = scratch / "source.onnx", scratch / "quantized.onnx"
    write_graph(model, source)
    inputs = inputs_of(model)
    shapes = {tensor.name: shape_of_batch(tensor, request.profile, calibration.batch) for tensor in inputs}
    batches = batches_of(inputs, shapes, calibration)
    progress(None, f"calibrating with {len(batches)} batches")
    said: dict[str, Any] = {
        "kind": wanted.quantized,
        "algorithm": calibration.algorithm,
        "kept_layers": request.kept_layers,
    }
    if wanted.converter == "MODELOPT":
        who = quantize_by_modelopt(source, quantized, batches, **said)
    else:
        operators = {node.op_type for node in model.graph.node}
        who = quantize(source, quantized, batches, operators=operators, for_cpu=wanted.for_cpu, **said)
    found = onnx.load(quantized)
    nodes, fed = count_quantized(found)
    if not fed:
        raise BuildError(
            f"{who} found nothing to put in {wanted.quantized.upper()}: no Q/DQ node came out",
            hint="Without --set converter=MODELOPT ONNX Runtime's quantizer does it."
            if wanted.converter == "MODELOPT"
            else "The model has no convolution and no matrix product that is quantized: ask for fp16.",
        )
    note = f"{wanted.quantized.upper()} by {who}: {fed} nodes on {nodes} Q/DQ nodes"
    return found, note, {"quantized_nodes": fed, "qdq_nodes": nodes}


def _halved(
    model: ModelProto, request: ConversionRequest, scratch: Path
) -> tuple[ModelProto, str, dict[str, Any]]:
    wanted = request.conversion
    if wanted.needs_modelopt:
        source = scratch / "to_half.onnx"
        write_graph(model, source)
        converted, who = to_half_by_autocast(source, wanted.half, request.kept_layers)
    else:
        converted, who = to_fp16(with_shapes(model), request.kept_layers)
    halves, floats = count_halves(with_shapes(converted))
    if not halves:
        raise BuildError(
            f"{who} converted nothing to {wanted.half.upper()}: none of {floats} nodes gives a tensor in 16 bits",
            hint="The model has that type already, or nothing in it can have it: ask for fp32.",
        )
    note = f"{wanted.half.upper()} by {who}: {halves} of {floats} nodes"
    return converted, note, {"half_nodes": halves, "float_nodes": floats}
