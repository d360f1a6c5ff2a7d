"""Layers that stay in FP32 in an engine of another precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import batches, build, loaded, options, refused, worst
from tensorrt_checks.models import conv_net, images, reference
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from pathlib import Path

EVERY = (
    "Conv_c0",
    "Relu_r0",
    "Conv_c1",
    "Relu_r1",
    "Conv_c2",
    "Relu_r2",
    "GlobalAveragePool_pooled",
    "MatMul_y",
)


def error_of(
    scratch: Path, name: str, precision: str, kept: tuple[str, ...], **more: Any
) -> tuple[float, Any]:
    """The greatest error against ONNX Runtime, and what the toolchain says of the build."""
    model, engine = conv_net(scratch / "kept.onnx"), scratch / f"kept-{name}.plan"
    # Higher than the other checks build at: below it FP16 tactics are hardly tried.
    output = build(
        model,
        engine,
        [batches(1, 8, 8)],
        precision,
        kept_layers=kept,
        builder_config=options(builder_optimization_level=3),
        **more,
    )
    given = images(8)
    with loaded(engine) as live:
        return worst(live.infer(given)["y"], reference(model, given)["y"]), output


@check
def layers_that_are_kept_are_in_fp32(scratch: Path) -> Any:
    """With every layer kept an FP16 build is as accurate as TF32; with none it is not, with one in between or as bad."""
    none, _ = error_of(scratch, "none", "fp16", ())
    one, _ = error_of(scratch, "one", "fp16", EVERY[:1])
    every, output = error_of(scratch, "every", "fp16", EVERY)
    tf32, _ = error_of(scratch, "tf32", "tf32", ())
    found = {"none": none, "one": one, "every": every, "tf32": tf32, "note": output.precision_note}
    # The builder may find FP16 slower for so small a net; then nothing can be told from the figures.
    assert every <= 4 * max(tf32, 1e-6), f"every layer is kept, and the error is not TF32's: {found}"
    assert "8 layer(s) in FP32" in output.precision_note, found
    return found


@check
def layers_are_kept_out_of_int8(scratch: Path) -> Any:
    """Random ranges make INT8 bad; with every layer kept nothing of that is seen."""
    from workers.toolchains.toolchain import CalibrationInput

    wanted = {"calibration": CalibrationInput("MINMAX_CALIBRATION", batch=8, samples=16, seed=1)}
    none, _ = error_of(scratch, "int8-none", "int8", (), **wanted)
    every, output = error_of(scratch, "int8-every", "int8", EVERY, **wanted)
    found = {"none": none, "every": every, "note": output.precision_note}
    assert every < none / 2, f"keeping every layer in FP32 changed little: {found}"
    return found


@check
def an_unknown_layer_to_keep_is_refused(scratch: Path) -> Any:
    """With the nearest name."""
    with refused("InvalidSpecError", "no layer 'Conv_cO'", "Conv_c0") as said:
        error_of(scratch, "unknown", "fp16", ("Conv_cO",))
    return said
