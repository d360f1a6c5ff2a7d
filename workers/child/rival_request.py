"""What a child is told of the engine that another one is held against, as a JSON document."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Optional, Tuple

from workers.child.timed_call import TimedCall


@dataclass(frozen=True)
class Rival:
    """The second engine of a comparison, called B; the request's own is A.

    Attributes:
        engine_path: where it lies.
        timed_calls: what it is fed, call by call beside those of A.
        inputs_path: samples that fit it; none for random ones.
        plugin_paths: plugin libraries that it needs to be loaded.
        io_scales: of int8 inputs and outputs whose model has floats there.
    """

    engine_path: Path
    timed_calls: Tuple[TimedCall, ...]
    inputs_path: Optional[Path] = None
    plugin_paths: Tuple[Path, ...] = ()
    io_scales: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return {
            "engine_path": str(self.engine_path),
            "timed_calls": [call.as_json() for call in self.timed_calls],
            "inputs_path": None if self.inputs_path is None else str(self.inputs_path),
            "plugin_paths": [str(path) for path in self.plugin_paths],
            "io_scales": dict(self.io_scales),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rival:
        """The inverse of `as_json`."""
        inputs = value["inputs_path"]
        return cls(
            Path(value["engine_path"]),
            tuple(map(TimedCall.from_json, value["timed_calls"])),
            None if inputs is None else Path(inputs),
            tuple(map(Path, value["plugin_paths"])),
            value["io_scales"],
        )
