"""A user's own figures of accuracy: a function of a Python file, found by the digest of the file."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple

#: No function gives more figures.
MOST_FIGURES = 64


class UserMetric(NamedTuple):
    """A function that compares what an engine computes with what it was to compute.

    Attributes:
        function: its name, and that of its figure.
        source: name of its file, for people.
        sha256: of the file's bytes.
    """

    function: str
    source: str
    sha256: str

    def as_json(self) -> dict[str, str]:
        """The form in JSON."""
        return self._asdict()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> UserMetric:
        """The inverse of `as_json`."""
        return cls(str(value["function"]), str(value["source"]), str(value["sha256"]))
