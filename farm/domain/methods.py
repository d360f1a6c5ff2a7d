"""How an inference was launched and timed: the names that measurements are filed under."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from farm.domain.errors import InvalidSpecError

#: What `--method` takes beside the names of methods: which methods a run measures by, first to last.
FARM, TRTEXEC_10, TRTEXEC_11 = "farm", "trtexec-10", "trtexec-11"
#: How many inferences at most are under way at once.
MOST_STREAMS = 64
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

    @property
    def rank(self) -> tuple[bool, bool, bool, bool]:
        """What goes before what where one figure stands for all: higher goes first.

        One inference at a time with its caches as it leaves them, then CUDA graphs, which are steadier, then with
        transfers, as the farm has measured from its beginning.
        """
        return (self.streams == 1, not self.flushed, self.graph, self.transfers)

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


#: Which ways each named set has. trtexec's are its defaults before and from release 11.0 on.
SETS: dict[str, tuple[Method, ...]] = {
    FARM: (Method(), Method(transfers=False), Method(graph=True), Method(graph=True, transfers=False)),
    TRTEXEC_10: (Method(),),
    TRTEXEC_11: (Method(graph=True, transfers=False),),
}
#: What `--method` takes.
METHOD_WORDS = (*SETS, *map(str, SETS[FARM]))


def methods_of(word: str, streams: tuple[int, ...], *, flushed: bool) -> tuple[Method, ...]:
    """The ways that a benchmark times by.

    One inference at a time in every way of the set; several at once in the last one alone, which for the farm's own
    set is replayed from a CUDA graph, without transfers.

    Args:
        word: one of `METHOD_WORDS`.
        streams: how many inferences at once; each is measured.
        flushed: whether the L2 cache is emptied between iterations; never with several inferences at once, where
            one would empty it under another.

    Raises:
        InvalidSpecError: there is no such word, or so many streams can not be.
    """
    if word not in METHOD_WORDS:
        raise InvalidSpecError(
            f"no method of timing is called {word!r}", hint=f"There are {', '.join(METHOD_WORDS)}."
        )
    for count in streams:
        if not 1 <= count <= MOST_STREAMS:
            raise InvalidSpecError(f"1 to {MOST_STREAMS} streams can be measured at once, not {count}")
    ways = SETS.get(word) or (Method.from_name(word),)
    found = [replace(way, flushed=flushed) for way in ways if 1 in streams]
    found += [replace(ways[-1], streams=count) for count in sorted(set(streams)) if count > 1]
    return tuple(found)
