"""An export as values: what is asked for, and what came of it."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from farm.domain.accuracy import OutputAccuracy
    from workers.export.inputs import DynamicAxes, InputSpec
    from workers.export.sources import Source

#: Greatest error that passes, as a share of the output's largest value. An exported graph computes the same
#: in another order: deep nets in float32 were seen to differ by 1e-6 to 1e-4 of it.
TOLERANCE = 1e-3
#: The same where an output is float16 or bfloat16, whose steps are 1e-3 and 8e-3 of a value.
HALF_TOLERANCE = 3e-2


class Exporter(enum.Enum):
    """PyTorch's two ways to ONNX."""

    DYNAMO = "dynamo"
    LEGACY = "legacy"


@dataclass(frozen=True)
class ExportRequest:
    """What to export, and how.

    Attributes:
        source: the model.
        path: where the file goes; weights beyond a limit lie beside it, in a file of its name and `.data`.
        inputs: of its forward.
        dynamic: what stays dynamic.
        opset: as asked for; 0 for the usual one.
        max_opset: newest that every target takes; 0 for no limit.
        limited_by: which target sets that limit, for people.
        exporter: as asked for; none for the one that fits.
        output_names: as asked for; empty for names by the structure of the outputs.
        weights: a state dict that is loaded into the model.
        tolerance: greatest error, as a share of the output's largest value; none for the usual one.
        compares: whether the result is compared with PyTorch.
        seed: of weights that a factory draws, and of the samples.
        program_path: where the PyTorch model itself goes, for baselines: a program, or TorchScript as it is; none if
            nobody wants it.
    """

    source: Source
    path: Path
    inputs: tuple[InputSpec, ...] = ()
    dynamic: tuple[DynamicAxes, ...] = ()
    opset: int = 0
    max_opset: int = 0
    limited_by: str = ""
    exporter: Exporter | None = None
    output_names: tuple[str, ...] = ()
    weights: Path | None = None
    tolerance: float | None = None
    compares: bool = True
    seed: int = 0
    program_path: Path | None = None


@dataclass(frozen=True)
class Comparison:
    """ONNX Runtime against PyTorch on one sample.

    Attributes:
        shapes: of the inputs.
        outputs: every output's error.
    """

    shapes: Mapping[str, tuple[int, ...]]
    outputs: tuple[OutputAccuracy, ...]


@dataclass(frozen=True)
class Exported:
    """What came of it.

    Attributes:
        path: the ONNX file.
        exporter: which one wrote it.
        why: the reason for that exporter; empty if it is the usual one.
        opset: of the file.
        folded: how many nodes the constant folding took away.
        comparisons: one for every sample; empty if none was wanted.
        notes: what a person should know.
    """

    path: Path
    exporter: Exporter
    why: str
    opset: int
    folded: int
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {
            "path": str(self.path),
            "exporter": self.exporter.value,
            "why": self.why,
            "opset": self.opset,
            "folded_nodes": self.folded,
            "comparisons": [
                {
                    "shapes": {name: list(shape) for name, shape in comparison.shapes.items()},
                    "outputs": [
                        {
                            "name": o.name,
                            "max_abs_error": o.max_abs_error,
                            "cosine": o.cosine,
                            "snr_db": o.snr_db,
                        }
                        for o in comparison.outputs
                    ],
                }
                for comparison in self.comparisons
            ],
            "notes": list(self.notes),
        }
