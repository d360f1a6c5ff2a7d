"""What a toolchain is to build, as a JSON document."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, NamedTuple

from farm.domain.shapes import ShapeRange
from workers.toolchains.toolchain import BuildInput, CalibrationInput

_PATHS = ("timing_cache_in", "timing_cache_out", "layers_path", "refit_path", "program_path")


class LayerwiseInput(NamedTuple):
    """That an engine is held against its reference layer by layer.

    Attributes:
        folder: the marked models, what the reference has there, and the plan of it.
        build: how the engine is built; the marked models are built likewise.
    """

    folder: Path
    build: BuildInput

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {"folder": str(self.folder), "build": build_as_json(self.build)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LayerwiseInput:
        """The inverse of `as_json`."""
        return cls(Path(value["folder"]), build_from_json(value["build"]))


def build_as_json(build: BuildInput) -> dict[str, Any]:
    """The document that `build_from_json` reads."""
    return {
        "model_path": str(build.model_path),
        "engine_path": str(build.engine_path),
        "precision": build.precision,
        "builder_config": dict(build.builder_config),
        "profiles": [{name: span.as_json() for name, span in profile.items()} for profile in build.profiles],
        "compute_capability": build.compute_capability,
        "calibration": build.calibration and build.calibration.as_json(),
        "io_formats": dict(build.io_formats),
        "plugin_paths": [str(path) for path in build.plugin_paths],
        "kept_layers": list(build.kept_layers),
        "conversion": build.conversion,
        **{name: optional_text(getattr(build, name)) for name in _PATHS},
    }


def build_from_json(value: Mapping[str, Any]) -> BuildInput:
    """The inverse of `build_as_json`."""
    return BuildInput(
        model_path=Path(value["model_path"]),
        engine_path=Path(value["engine_path"]),
        precision=value["precision"],
        builder_config=value["builder_config"],
        profiles=tuple(
            {name: ShapeRange.from_json(span) for name, span in profile.items()}
            for profile in value["profiles"]
        ),
        compute_capability=value["compute_capability"],
        calibration=CalibrationInput.from_json(value["calibration"]) if value["calibration"] else None,
        io_formats=value["io_formats"],
        plugin_paths=tuple(map(Path, value["plugin_paths"])),
        kept_layers=tuple(value["kept_layers"]),
        conversion=value["conversion"],
        **{name: optional_path(value[name]) for name in _PATHS},
    )


def optional_text(path: Path | None) -> str | None:
    """A path for JSON; none for none."""
    return None if path is None else str(path)


def optional_path(text: str | None) -> Path | None:
    """The inverse of `optional_text`."""
    return None if text is None else Path(text)
