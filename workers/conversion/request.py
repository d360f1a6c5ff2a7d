"""What the supervisor asks of a child that converts a model, and what that child answers, as JSON documents."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.domain.conversion import Conversion
from farm.domain.shapes import ShapeRange
from farm.domain.thresholds import Thresholds
from workers.toolchains.toolchain import CalibrationInput

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class ConversionRequest:
    """Convert a model to other types.

    Attributes:
        model_path: the ONNX file, its external data beside it.
        converted_path: where to write the converted one; its folder is there and empty.
        conversion: what to do.
        profile: a range for every dynamic input; samples are taken at the middle shapes.
        calibration: samples, where tensors are quantized; none else.
        kept_layers: nodes that stay in FP32, by name.
        thresholds: what the converted model must reach on the CPU, where nothing here can run its engine; none where the
            engine itself is verified.
    """

    model_path: Path
    converted_path: Path
    conversion: Conversion
    profile: Mapping[str, ShapeRange] = field(default_factory=dict)
    calibration: CalibrationInput | None = None
    kept_layers: tuple[str, ...] = ()
    thresholds: Thresholds | None = None


@dataclass(frozen=True)
class ConversionResult:
    """What a conversion came to.

    Attributes:
        note: who did what, and to how much, for people: `FP16 by ONNX Runtime 1.31.1, 11 of 13 nodes`.
        details: the counts behind it.
    """

    note: str
    details: Mapping[str, Any] = field(default_factory=dict)


def conversion_request_as_json(request: ConversionRequest) -> dict[str, Any]:
    """The document that `conversion_request_from_json` reads."""
    return {
        "operation": "convert",
        "model_path": str(request.model_path),
        "converted_path": str(request.converted_path),
        "conversion": asdict(request.conversion),
        "profile": {name: span.as_json() for name, span in request.profile.items()},
        "calibration": request.calibration and request.calibration.as_json(),
        "kept_layers": list(request.kept_layers),
        "thresholds": request.thresholds and request.thresholds.as_json(),
    }


def conversion_request_from_json(value: Mapping[str, Any]) -> ConversionRequest:
    """The inverse of `conversion_request_as_json`."""
    return ConversionRequest(
        Path(value["model_path"]),
        Path(value["converted_path"]),
        Conversion(**value["conversion"]),
        {name: ShapeRange.from_json(span) for name, span in value["profile"].items()},
        CalibrationInput.from_json(value["calibration"]) if value["calibration"] else None,
        tuple(value["kept_layers"]),
        Thresholds(**value["thresholds"]) if value["thresholds"] else None,
    )
