"""An engine held against its reference layer by layer: where the error jumps first."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Mapping, Sequence

#: What rounding alone makes of a layer, as a relative error: half a unit of the last place, some hundred times added.
_FLOORS = (
    ("fp8", 1e-1),
    ("int8", 3e-2),
    ("bf16", 1e-2),
    ("best", 3e-2),
    ("fp16", 1e-3),
    ("tf32", 1e-3),
    ("fp32", 1e-5),
)
#: An error that is so many times that of the layer's inputs, or of rounding, jumps.
JUMP_FACTOR = 10.0
#: In JSON, in place of the error of a layer that gives NaN or infinities where the reference has none.
NOT_FINITE = 1e9


@dataclass(frozen=True)
class LayerDeviation:
    """One tensor of the engine against the same tensor of the reference.

    Attributes:
        tensor: its name in the model.
        node: of the model that gives it.
        operator: of that node.
        inputs: the tensors among those that were compared that it is computed from.
        relative_error: Euclidean length of the difference over that of the reference.
        max_abs_error: greatest absolute difference of an element.
        snr_db: of the tensor.
        non_finite: how many elements are NaN or infinite on one side alone.
        worst_index: position of the greatest difference.
        worst_expected: the reference's value there.
        worst_actual: the engine's value there.
    """

    tensor: str
    node: str
    operator: str
    inputs: tuple[str, ...]
    relative_error: float
    max_abs_error: float
    snr_db: float
    non_finite: int = 0
    worst_index: tuple[int, ...] = ()
    worst_expected: float = 0.0
    worst_actual: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LayerDeviation:
        """The inverse of `as_json`."""
        known = {one.name: value[one.name] for one in fields(cls) if one.name in value}
        return cls(
            **{**known, "inputs": tuple(value["inputs"]), "worst_index": tuple(value.get("worst_index", ()))}
        )


@dataclass(frozen=True)
class Jump:
    """A layer whose error is more than its inputs', or rounding, explain.

    Attributes:
        layer: the layer.
        before: the greatest relative error of its inputs; 0 where it takes inputs of the model.
    """

    layer: LayerDeviation
    before: float

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {**self.layer.as_json(), "error_of_inputs": self.before}

    def __str__(self) -> str:
        """For people."""
        layer = self.layer
        what = (
            f"{layer.non_finite} values are NaN or infinite"
            if layer.non_finite
            else f"relative error {layer.relative_error:.2g}"
        )
        return f"{layer.node} ({layer.operator}, tensor {layer.tensor}): {what} after {self.before:.2g} in its inputs"


def rounding_of(precision: str) -> float:
    """The relative error that rounding alone explains in a precision, such as `int8+fp16`."""
    parts = precision.lower()
    return next((floor for name, floor in _FLOORS if name in parts), _FLOORS[-1][1])


def first_jump(layers: Sequence[LayerDeviation], precision: str) -> Jump | None:
    """The first layer, in the order of the graph, whose error is ten times that of its inputs and of rounding.

    None where the error grows from layer to layer, so that none stands out.
    """
    floor, errors = rounding_of(precision), _errors(layers)
    for layer in layers:
        before = _before(layer, errors)
        is_new = layer.non_finite > 0 and before < NOT_FINITE
        if is_new or JUMP_FACTOR * max(before, floor) <= layer.relative_error < NOT_FINITE:
            return Jump(layer, before)
    return None


def adds_most(layers: Sequence[LayerDeviation]) -> Jump | None:
    """The layer that adds most to the error of its inputs, by power; none where there are no layers."""
    errors = _errors(layers)
    jumps = [Jump(layer, _before(layer, errors)) for layer in layers]
    return max(jumps, key=lambda jump: jump.layer.relative_error**2 - jump.before**2, default=None)


def layerwise_summary(
    layers: Sequence[LayerDeviation], precision: str, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """What is filed with a run: how many layers were compared, which jumps first, which adds most."""
    first, most = first_jump(layers, precision), adds_most(layers)
    return {
        "compared": len(layers),
        "first_jump": first and first.as_json(),
        "adds_most": most and most.as_json(),
        "rounding": rounding_of(precision),
        "notes": list(notes),
    }


def layerwise_words(summary: Mapping[str, Any]) -> str:
    """A summary in a line for people."""
    first, most = summary["first_jump"], summary["adds_most"]
    notes = "".join(f"; {note}" for note in summary["notes"])
    if first is not None:
        return f"the error jumps first at {_jump_of(first)} ({summary['compared']} layers compared){notes}"
    grows = f"no layer of {summary['compared']} stands out, the error grows from one to the next"
    return f"{grows}; {_jump_of(most)} adds most{notes}" if most is not None else f"{grows}{notes}"


def _jump_of(value: Mapping[str, Any]) -> Jump:
    return Jump(LayerDeviation.from_json(value), float(value["error_of_inputs"]))


def _errors(layers: Sequence[LayerDeviation]) -> dict[str, float]:
    return {layer.tensor: NOT_FINITE if layer.non_finite else layer.relative_error for layer in layers}


def _before(layer: LayerDeviation, errors: Mapping[str, float]) -> float:
    found = [errors[name] for name in layer.inputs if name in errors]
    return max((error for error in found if math.isfinite(error)), default=0.0)
