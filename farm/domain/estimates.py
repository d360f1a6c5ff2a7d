"""What a model would take and do at some shapes, reckoned without running it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Mapping

if TYPE_CHECKING:
    from farm.domain.shapes import Shape


@dataclass(frozen=True)
class Estimate:
    """An estimate; an engine fuses, folds and keeps less.

    Attributes:
        shapes: of the inputs that it holds for.
        flops: floating-point operations of one inference; a multiplication with an addition counts as two.
        weights_bytes: of the model's constants, in the model's own types.
        peak_activation_bytes: the most that must be held between two nodes, if every node's outputs are held until
            their last reader has run.
        uncounted: operators whose operations are in no sum, each with the number of its nodes.
        open_tensors: how many tensors have no known size and are in no sum.
        largest_tensor: name of the one with the most elements, constants aside; empty if no size is known.
        largest_elements: how many it has.
    """

    shapes: Mapping[str, Shape]
    flops: int
    weights_bytes: int
    peak_activation_bytes: int
    uncounted: Mapping[str, int] = field(default_factory=dict)
    open_tensors: int = 0
    largest_tensor: str = ""
    largest_elements: int = 0

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {
            **vars(self),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "uncounted": dict(self.uncounted),
        }
