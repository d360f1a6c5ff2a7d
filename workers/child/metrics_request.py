"""What the supervisor asks of the child that runs a user's own metrics, as a JSON document."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, NamedTuple, Optional, Tuple


class MetricsRequest(NamedTuple):
    """Compute a user's own figures.

    Attributes:
        metrics: every function with the file that it is in.
        inputs_path: an `.npz` with what the engine was fed with, and labels where there are some.
        expected_path: the reference's outputs; none where the inputs' file has them.
        actual_path: the engine's outputs.
    """

    metrics: Tuple[Tuple[str, Path], ...]
    inputs_path: Path
    expected_path: Optional[Path]
    actual_path: Path

    def as_json(self) -> dict[str, Any]:
        """The document of a request."""
        return {
            "operation": "metrics",
            "metrics": [[function, str(path)] for function, path in self.metrics],
            "inputs_path": str(self.inputs_path),
            "expected_path": None if self.expected_path is None else str(self.expected_path),
            "actual_path": str(self.actual_path),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> MetricsRequest:
        """The inverse of `as_json`."""
        expected = value["expected_path"]
        return cls(
            tuple((function, Path(path)) for function, path in value["metrics"]),
            Path(value["inputs_path"]),
            None if expected is None else Path(expected),
            Path(value["actual_path"]),
        )
