"""How an inference was launched and timed: the names that measurements are filed under."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"(plain|cuda-graph)(-compute)?(?:-s(\d{1,3}))?(-flushed)?")


@dataclass(frozen=True)
class Method:
    """One way to time an engine; figures of different ways are never compared with one another.

    Attributes:
        graph: whether the launches were replayed from a CUDA graph.
        transfers: whether each iteration copied the inputs in and the outputs out.
        streams: how many inferences were under way at once, each with a stream and a context of its own.
        flushed: whether the L2 cache was emptied between iterations.
    """

    graph: bool = False
    transfers: bool = True
    streams: int = 1
    flushed: bool = False

    def __str__(self) -> str:
        """As it is filed: `plain`, `cuda-graph-compute`, `plain-s4`."""
        return "".join(
            (
                "cuda-graph" if self.graph else "plain",
                "" if self.transfers else "-compute",
                f"-s{self.streams}" if self.streams > 1 else "",
                "-flushed" if self.flushed else "",
            )
        )

    @classmethod
    def from_name(cls, name: str) -> Method:
        """The inverse of `str`.

        Raises:
            ValueError: no method has such a name.
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise ValueError(f"no method of timing is called {name!r}")
        return cls(
            graph=found[1] == "cuda-graph",
            transfers=not found[2],
            streams=int(found[3] or 1),
            flushed=bool(found[4]),
        )
