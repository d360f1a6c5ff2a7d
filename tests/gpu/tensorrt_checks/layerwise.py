"""Layer by layer: marked models build, run at every precision, and name the layer where engine and model part."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import batches, options, toolchain
from tensorrt_checks.models import conv_net, images
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from pathlib import Path

#: Every tensor of `conv_net` that a node gives.
TENSORS = ["c0", "r0", "c1", "r1", "c2", "r2", "pooled", "flat", "y"]


def compared(scratch: Path, built: Path, precision: str, per_model: int, **wanted: Any) -> tuple[Any, Any]:
    """The summary, and every layer, of `conv_net` against an engine of the built model."""
    import numpy as np

    from workers.child.build_document import LayerwiseInput
    from workers.child.layerwise import compare_layers
    from workers.child.requests import AttemptRequest
    from workers.conversion.marking import mark_layers
    from workers.conversion.marking_request import MarkRequest
    from workers.toolchains.toolchain import BuildInput

    folder = scratch / f"marked-{built.stem}-{precision}-{per_model}"
    folder.mkdir()
    np.savez(scratch / "call.npz", **images(4))
    model = conv_net(scratch / "right.onnx")
    shapes = {"x": (4, 3, 32, 32)}
    request = MarkRequest(model, built, scratch / "call.npz", shapes, {}, folder, per_model)
    count = mark_layers(request, lambda fraction, message: None)
    assert count == len(TENSORS), f"{count} tensors were marked, not {len(TENSORS)}"
    own = toolchain()
    build = BuildInput(
        built,
        scratch / "unused",
        precision,
        builder_config=options(),
        profiles=(batches(1, 4, 8),),
        **wanted,
    )
    asked = AttemptRequest(
        own.describe().id.name,
        own.describe().id.version,
        scratch / "unused",
        layerwise=LayerwiseInput(folder, build),
        histogram_path=folder / "errors.json",
    )
    summary = compare_layers(own, asked, lambda fraction, message: None)
    layers = json.loads((folder / "errors.json").read_text())["layers"]
    assert not summary["notes"], f"not every marked model could be built and run: {summary['notes']}"
    found = [layer["tensor"] for layer in layers]
    assert found == TENSORS, f"compared {found}, not {TENSORS}"
    return summary, {layer["tensor"]: layer["relative_error"] for layer in layers}


@check
def layers_of_every_precision_are_near_their_reference(scratch: Path) -> Any:
    """FP32, TF32, FP16 and INT8 of one model: no layer jumps, and fewer bits give larger errors."""
    from workers.toolchains.toolchain import CalibrationInput

    model = conv_net(scratch / "right.onnx")
    found = {}
    told = toolchain().describe().precisions
    for precision in ("fp32", "tf32", "fp16", "int8"):
        if told.get(precision):
            # Conversion comes before such a build, and is not this check's.
            continue
        calibration = (
            CalibrationInput("MINMAX_CALIBRATION", batch=4, samples=16) if precision == "int8" else None
        )
        more = {"calibration": calibration} if calibration else {}
        summary, errors = compared(scratch, model, precision, 64, **more)
        assert summary["first_jump"] is None, f"{precision}: {summary['first_jump']}"
        found[precision] = errors
    assert found["fp32"]["y"] < 1e-4, found["fp32"]
    if "fp16" in found:
        assert found["fp16"]["y"] >= found["fp32"]["y"], found
    return {
        name: {tensor: f"{error:.1e}" for tensor, error in errors.items()} for name, errors in found.items()
    }


@check
def the_layer_where_engine_and_model_part_is_named(scratch: Path) -> Any:
    """An engine of a model with other weights in its second convolution, in one marked model and in five."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(conv_net(scratch / "right.onnx")))
    (weights,) = (tensor for tensor in model.graph.initializer if tensor.name == "w1")
    weights.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weights), "w1"))
    wrong = scratch / "wrong.onnx"
    onnx.save(model, str(wrong))
    found = {}
    for per_model in (64, 2):
        summary, errors = compared(scratch, wrong, "fp32", per_model)
        jump = summary["first_jump"]
        assert jump is not None, f"no layer jumps: {errors}"
        assert jump["tensor"] == "c1", f"the wrong layer jumps: {jump}; {errors}"
        found[str(per_model)] = {tensor: f"{error:.1e}" for tensor, error in errors.items()}
    return found
