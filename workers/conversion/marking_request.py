"""What the supervisor asks of the child that marks a model's tensors, and what the toolchain's child does with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm.domain.shapes import Shape

#: In the folder of the marked models: what they are, and what the reference has there.
PLAN = "plan.json"
#: In it, too: what one call is fed with.
CALL = "call.npz"


class MarkRequest(NamedTuple):
    """Write models whose intermediate tensors are outputs, and what the reference has there.

    Attributes:
        model_path: as it was submitted; the reference runs it.
        built_path: what the toolchain builds: the same, or converted to other types.
        inputs_path: an `.npz` with an array per input.
        shapes: every input's shape for one call.
        values: of inputs that hold a shape, where the file has none.
        folder: where the models go to; it is there, and empty.
        per_model: how many tensors one of them has as outputs, at most.
    """

    model_path: Path
    built_path: Path
    inputs_path: Path
    shapes: Mapping[str, Shape]
    values: Mapping[str, Shape]
    folder: Path
    per_model: int

    def as_json(self) -> dict[str, Any]:
        """The document of a request."""
        return {
            "operation": "mark-layers",
            "model_path": str(self.model_path),
            "built_path": str(self.built_path),
            "inputs_path": str(self.inputs_path),
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "values": {name: list(value) for name, value in self.values.items()},
            "folder": str(self.folder),
            "per_model": self.per_model,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> MarkRequest:
        """The inverse of `as_json`."""
        return cls(
            Path(value["model_path"]),
            Path(value["built_path"]),
            Path(value["inputs_path"]),
            {name: tuple(shape) for name, shape in value["shapes"].items()},
            {name: tuple(given) for name, given in value["values"].items()},
            Path(value["folder"]),
            value["per_model"],
        )
