"""What a child is told of several builds of one cell, and what it tells of them, as JSON documents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Optional

from workers.toolchains.toolchain import BuildOutput

#: What the filed engine is called among the builds.
FILED = "filed"
#: What an engine's details tell of how it came to be the one under its key, not of its bytes.
CHOICE_DETAILS = ("builds", "rebuild")


@dataclass(frozen=True)
class BuildSeries:
    """Several builds of one cell, of which the fastest engine that verifies is kept.

    Attributes:
        count: how many builds.
        filed_path: the engine that is filed under the key, as one more contender; none if there is none.
        filed_output: the facts of its build.
        filed_s: seconds that its build took.
    """

    count: int
    filed_path: Optional[Path] = None
    filed_output: Optional[BuildOutput] = None
    filed_s: Optional[float] = None

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        output = self.filed_output
        return {
            "count": self.count,
            "filed_path": None if self.filed_path is None else str(self.filed_path),
            "filed_output": output and {**vars(output), "details": dict(output.details)},
            "filed_s": self.filed_s,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BuildSeries:
        """The inverse of `as_json`."""
        path, output = value["filed_path"], value["filed_output"]
        return cls(
            value["count"],
            None if path is None else Path(path),
            BuildOutput(**output) if output else None,
            value["filed_s"],
        )


def seconds_of_kept(build: Optional[BuildOutput], all_s: Optional[float]) -> Optional[float]:
    """How long the build of the kept engine took, in seconds: all of the time, where there was no choice."""
    builds = build.details.get("builds", ()) if build else ()
    kept = next((one["build_s"] for one in builds if one["kept"]), None)
    return all_s if kept is None else float(kept)
