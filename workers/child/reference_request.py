"""What the supervisor asks of the child that computes a reference, as a JSON document."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping, Tuple

from farm.domain.input_ranges import InputRange, ranges_as_json, ranges_from_json

if TYPE_CHECKING:
    from farm.domain.shapes import Shape


@dataclass(frozen=True)
class ReferenceRequest:
    """Compute the reference outputs, and make the inputs if none are given.

    Attributes:
        model_path: the ONNX file.
        inputs_path: an `.npz` with an array per input, or where to write seeded random ones.
        make_inputs: whether the inputs are to be made.
        shapes: every input's shape for one call; also the size of a chunk of given inputs.
        seed: of the random inputs.
        outputs_path: where to write the outputs, an array per output.
        values: what inputs that hold a shape are fed with, where they are not given.
        further: shapes and values of one more call each, on random inputs: the engine's other optimization profiles.
            Their files are named by `further_path`.
        ranges: of random inputs whose range is known.
        in_doubles: whether it is computed in FP64.
    """

    model_path: Path
    inputs_path: Path
    make_inputs: bool
    shapes: Mapping[str, Shape]
    seed: int
    outputs_path: Path
    values: Mapping[str, Shape] = field(default_factory=dict)
    further: Tuple[Tuple[Mapping[str, Shape], Mapping[str, Shape]], ...] = ()
    ranges: Mapping[str, InputRange] = field(default_factory=dict)
    in_doubles: bool = False


def further_path(path: Path, profile: int) -> Path:
    """The file beside another one for an optimization profile: `inputs-2.npz` for the second."""
    return path.with_name(f"{path.stem}-{profile}{path.suffix}")


def reference_request_as_json(request: ReferenceRequest) -> dict[str, Any]:
    """The document that `reference_request_from_json` reads."""
    return {
        "operation": "reference",
        "model_path": str(request.model_path),
        "inputs_path": str(request.inputs_path),
        "make_inputs": request.make_inputs,
        "shapes": shapes_as_json(request.shapes),
        "seed": request.seed,
        "outputs_path": str(request.outputs_path),
        "values": shapes_as_json(request.values),
        "further": [[shapes_as_json(shapes), shapes_as_json(values)] for shapes, values in request.further],
        "ranges": ranges_as_json(request.ranges),
        "in_doubles": request.in_doubles,
    }


def reference_request_from_json(value: Mapping[str, Any]) -> ReferenceRequest:
    """The inverse of `reference_request_as_json`."""
    return ReferenceRequest(
        Path(value["model_path"]),
        Path(value["inputs_path"]),
        value["make_inputs"],
        shapes_from_json(value["shapes"]),
        value["seed"],
        Path(value["outputs_path"]),
        shapes_from_json(value["values"]),
        tuple((shapes_from_json(shapes), shapes_from_json(values)) for shapes, values in value["further"]),
        ranges_from_json(value["ranges"]),
        value["in_doubles"],
    )


def shapes_as_json(shapes: Mapping[str, Shape]) -> dict[str, list[int]]:
    """Shapes by name, as JSON has them."""
    return {name: list(shape) for name, shape in shapes.items()}


def shapes_from_json(value: Mapping[str, list[int]]) -> dict[str, Shape]:
    """The inverse of `shapes_as_json`."""
    return {name: tuple(shape) for name, shape in value.items()}
