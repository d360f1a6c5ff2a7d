"""Build specs: everything that changes an engine, and the key that follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from farm.domain.calibration import Calibration
from farm.domain.digests import Digest, canonical_json, digest_of_bytes
from farm.domain.shapes import ShapeRange
from farm.domain.targets import DeviceType, Target, ToolchainId

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class BuildSpec:
    """What to build. Equal specs have equal keys and share one engine.

    Attributes:
        model_sha256: digest of the model's content.
        target: device type and toolchain.
        precision: as asked for; the toolchain decides how to honour it.
        builder_config: canonical options, defaults left out (`ToolchainDescription.normalise`).
        profiles: one optimization profile per entry: a range of shapes for every dynamic input, and of values for
            an input that holds a shape (`farm.domain.profiles`).
        salt: any text; another salt disowns a cell and builds it anew.
        calibration: what INT8 is calibrated with; none where nothing is.
        io_formats: types and formats of inputs and outputs that are not as in the model, in TensorRT's words:
            `{"input": "fp16:chw16"}`.
        plugins: digests of plugin libraries that are loaded before the model is parsed, in that order.
        kept_layers: nodes of the model that stay in FP32 whatever the precision, by name.
        refit_of: digest of the engine's bytes whose weights are replaced by the model's, in place of a build; empty
            for a build.
        program: digest of the file with the PyTorch model that the ONNX model was exported from, for what runs that
            one (`farm.domain.baselines`); empty for what is built from the ONNX model.
    """

    model_sha256: str
    target: Target
    precision: str
    builder_config: Mapping[str, Any] = field(default_factory=dict)
    profiles: tuple[Mapping[str, ShapeRange], ...] = ()
    salt: str = ""
    calibration: Calibration | None = None
    io_formats: Mapping[str, str] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()
    kept_layers: tuple[str, ...] = ()
    refit_of: str = ""
    program: str = ""

    def as_json(self) -> dict[str, Any]:
        """Every component of the key; stored with the engine, so that a miss can be explained."""
        # Not there unless there is one: the keys of all other engines stay what they were.
        later = {
            "calibration": self.calibration.as_json() if self.calibration else None,
            "io_formats": dict(self.io_formats),
            "plugins": list(self.plugins),
            "kept_layers": sorted(self.kept_layers),
            "refit_of": self.refit_of,
            "program": self.program,
        }
        return {
            "model": self.model_sha256,
            "device_type": self.target.device_type.as_json(),
            "toolchain": self.target.toolchain.as_json(),
            "precision": self.precision,
            "builder_config": dict(self.builder_config),
            "profiles": [
                {name: shapes.as_json() for name, shapes in profile.items()} for profile in self.profiles
            ],
            "salt": self.salt,
            **{name: value for name, value in later.items() if value},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BuildSpec:
        """The inverse of `as_json`."""
        return cls(
            model_sha256=value["model"],
            target=Target(
                DeviceType.from_json(value["device_type"]), ToolchainId.from_json(value["toolchain"])
            ),
            precision=value["precision"],
            builder_config=value["builder_config"],
            profiles=tuple(
                {name: ShapeRange.from_json(shapes) for name, shapes in profile.items()}
                for profile in value["profiles"]
            ),
            salt=value["salt"],
            calibration=Calibration.from_json(value["calibration"]) if value.get("calibration") else None,
            io_formats=value.get("io_formats", {}),
            plugins=tuple(value.get("plugins", ())),
            kept_layers=tuple(value.get("kept_layers", ())),
            refit_of=value.get("refit_of", ""),
            program=value.get("program", ""),
        )

    @cached_property
    def digest(self) -> Digest:
        """The key of the engine: sha256 of the spec's canonical JSON."""
        return digest_of_bytes(canonical_json(self.as_json()))
