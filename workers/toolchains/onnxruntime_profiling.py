"""Time by node: ONNX Runtime's own profiler, in a session beside the one that is timed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, List, Mapping, Tuple

from farm.domain.layer_times import LayerEvent

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What the name of a node's event ends with; older releases write two more events for its fences.
_KERNEL = "_kernel_time"
#: The event of one run as a whole, by the release of ONNX Runtime.
_RUNS = ("SequentialExecutor::Execute", "ParallelExecutor::Execute")
_WARM_RUNS = 3


def profile_nodes(
    open_session: Callable[[str], Any], inputs: Mapping[str, NDArray[Any]], iterations: int
) -> List[Tuple[LayerEvent, ...]]:
    """Every node's time in every run, with its start.

    Args:
        open_session: makes a session that profiles into files of this prefix.
        inputs: what it is run on.
        iterations: how many runs count.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(str(Path(folder) / "profile"))
        for _ in range(_WARM_RUNS + iterations):
            session.run(None, dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text())
    return read_events(events)[-iterations:]


def read_events(events: List[Mapping[str, Any]]) -> List[Tuple[LayerEvent, ...]]:
    """The nodes of every run, from ONNX Runtime's trace; times there are whole microseconds."""
    runs = sorted((event["ts"], event["ts"] + event["dur"]) for event in events if event["name"] in _RUNS)
    nodes = sorted(
        (event for event in events if event["cat"] == "Node" and event["name"].endswith(_KERNEL)),
        key=lambda event: event["ts"],
    )
    found: List[List[LayerEvent]] = [[] for _ in runs]
    place = 0
    for event in nodes:
        while place < len(runs) and event["ts"] > runs[place][1]:
            place += 1
        if place == len(runs) or event["ts"] < runs[place][0]:
            continue
        found[place].append(
            LayerEvent(
                name=event["name"][: -len(_KERNEL)],
                type=str(event.get("args", {}).get("op_name", "")),
                start_ms=(event["ts"] - runs[place][0]) / 1000,
                time_ms=event["dur"] / 1000,
            )
        )
    return [tuple(layers) for layers in found]
