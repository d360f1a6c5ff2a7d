"""`farm inspect MODEL --sensitivity int8`: what a precision does to every layer, the worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli.build_request import Wish
from cli.context import settings_of
from cli.inspect_model import input_shapes
from cli.render import decibel, show_json, show_line, show_note, show_table
from cli.sample_options import make_samples, samples_as_wish
from farm.domain.calibration import RANDOM, USUAL_ALGORITHM, USUAL_RANDOM_SAMPLES
from farm.domain.errors import InvalidSpecError
from farm.domain.precisions import canonical_precision, is_quantized
from farm.domain.shapes import DYNAMIC, ShapeRange, parse_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import click

    from farm.domain.models import Model
    from farm.domain.shapes import Shape
    from workers.conversion.sensitivity import SensitivityRequest

#: What a model can be converted to, so that there is something to compare.
PRECISIONS = ("fp16", "bf16", "int8", "int8+fp16", "fp8", "fp8+fp16")
#: Layers with a row each.
_MOST_ROWS = 40


def show_sensitivity(
    ctx: click.Context,
    path: Path,
    precision: str,
    *,
    samples: Mapping[str, Any],
    batch: int | None,
    shapes: str | None,
    as_json: bool,
) -> None:
    """Compares every layer of a model with its conversion.

    Args:
        ctx: of the command.
        path: of the model.
        precision: in the user's word.
        samples: the options `inputs` (what to compare on; none for seeded random ones), `calibration` (samples, or the
            word `random`; 8 bits need one), and what is done to images, as `farm submit` has them.
        batch: size of the first dimension that is open.
        shapes: of inputs, in a user's words.
        as_json: for programs.

    Raises:
        InvalidSpecError: the precision, the inputs or the samples do not fit.
        BuildError: the model can not be converted.
    """
    from farm.storage.model_files import read_model
    from workers.layer_ranking import rank_layers

    word = canonical_precision(precision)
    if word not in PRECISIONS:
        raise InvalidSpecError(
            f"no layer changes by {precision!r}", hint=f"Compare {', '.join(PRECISIONS)} with FP32."
        )
    if is_quantized(word) and samples["calibration"] is None:
        raise InvalidSpecError(
            f"{word} needs samples", hint="Give --calibration samples.npz, or --calibration random."
        )
    model = read_model(path)
    wanted = input_shapes(model, batch, parse_shapes(shapes) if shapes else {})
    inputs, calibration = _sample_files(ctx, model, wanted, samples)
    told: set[str] = set()

    def tell(message: str) -> None:
        if message and message not in told and not as_json:
            told.add(message)
            show_note(message)

    dynamic = {tensor.name for tensor in model.inputs if tensor.is_dynamic}
    layers = rank_layers(
        settings_of(ctx),
        lambda folder: _request(path, folder, word, wanted, dynamic, inputs, calibration),
        tell,
    )
    if as_json:
        show_json({"precision": word, "layers": layers})
        return
    rows = [
        [
            " + ".join(layer["nodes"]),
            layer["operator"],
            f"{layer['jump']:.2e}",
            f"{layer['relative_error']:.2e}",
            decibel(layer["snr_db"]),
        ]
        for layer in layers[:_MOST_ROWS]
    ]
    show_table(
        ["layer", "operator", "adds>", "has>", "SNR>"], rows, empty="No layer gives floating-point values."
    )
    if len(layers) > _MOST_ROWS:
        show_line(f"and {len(layers) - _MOST_ROWS} more that add less; --json has all")


def _sample_files(
    ctx: click.Context, model: Model, shapes: Mapping[str, Shape], samples: Mapping[str, Any]
) -> tuple[Path | None, Path | None]:
    """An `.npz` to compare on and one to calibrate with, or the word `random`; none where nothing was said."""
    given = {key: samples[key] for key in ("inputs", "calibration")}
    wish = Wish().overridden_by(
        {
            **{key: str(path) for key, path in given.items() if path is not None},
            **samples_as_wish({**samples, "labels": None}),
            "opt_shapes": ({name: shape for name, shape in shapes.items() if DYNAMIC not in shape},),
        }
    )
    made = make_samples(ctx, wish, model).paths
    return made.get("inputs"), made.get("calibration", given["calibration"])


def _request(
    path: Path,
    folder: Path,
    precision: str,
    shapes: dict[str, Shape],
    dynamic: set[str],
    inputs: Path | None,
    calibration: Path | None,
) -> SensitivityRequest:
    from farm.domain.conversion import whole_conversion
    from workers.conversion.request import ConversionRequest
    from workers.conversion.sensitivity import SensitivityRequest
    from workers.toolchains.toolchain import CalibrationInput

    is_random = calibration is not None and str(calibration) == RANDOM
    samples: Any = None
    if is_quantized(precision):
        # Of inputs whose batch is fixed it is that one.
        batch = max((shapes[name][0] for name in dynamic or shapes if shapes[name]), default=1)
        samples = CalibrationInput(
            USUAL_ALGORITHM,
            None if is_random or calibration is None else calibration.absolute(),
            batch,
            max(USUAL_RANDOM_SAMPLES, batch) if is_random else 0,
        )
    conversion = whole_conversion(precision, {})
    profile = {name: ShapeRange(shape, shape, shape) for name, shape in shapes.items() if name in dynamic}
    return SensitivityRequest(
        ConversionRequest(path.absolute(), folder / "converted.onnx", conversion, profile, samples),
        None if inputs is None else inputs.absolute(),
        shapes,
    )
