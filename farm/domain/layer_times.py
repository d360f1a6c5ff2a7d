"""Time by layer: what a profiler saw, iteration after iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from farm.domain.errors import CorruptArtifactError
from farm.domain.latencies import percentile_of_enough

if TYPE_CHECKING:
    from farm.domain.shapes import Shape

_VERSION = 1


@dataclass(frozen=True)
class LayerEvent:
    """One layer, run once.

    Attributes:
        name: of the layer.
        type: its operator or kind; empty if nobody says.
        start_ms: since its iteration began; -1 where the profiler tells no starts, as TensorRT's does.
        time_ms: how long it took.
    """

    name: str
    type: str
    start_ms: float
    time_ms: float


@dataclass(frozen=True)
class LayerTime:
    """A layer's times over all iterations, in milliseconds.

    Attributes:
        p90_ms: of a hundred times and more; none of fewer.
        share: its median's, of all layers' medians, from 0 to 1: one slow run does not move it.
        count: how many times it ran.
    """

    name: str
    type: str
    median_ms: float
    mean_ms: float
    p90_ms: float | None
    count: int
    share: float

    def as_json(self) -> dict[str, Any]:
        """The form in JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class LayerProfile:
    """What a profiler saw of an engine at one shape.

    Attributes:
        batch: size of the first dimension of the inputs.
        shapes: every input's shape.
        profiler: which one: `IProfiler`, `ONNX Runtime`.
        iterations: the layers in the order in which they ran, for each iteration.
    """

    batch: int
    shapes: Mapping[str, Shape]
    profiler: str
    iterations: Tuple[Tuple[LayerEvent, ...], ...]

    @property
    def total_ms(self) -> float:
        """The median over the iterations of what all layers took together."""
        sums = [sum(event.time_ms for event in events) for events in self.iterations]
        return float(np.median(sums)) if sums else 0.0

    def layers(self) -> list[LayerTime]:
        """Every layer with its times, in the order in which they first ran; equal names count as one."""
        times: Dict[str, List[float]] = {}
        types: Dict[str, str] = {}
        for events in self.iterations:
            # Loops run a layer several times in one iteration: together they are its time.
            once: Dict[str, float] = {}
            for event in events:
                once[event.name] = once.get(event.name, 0.0) + event.time_ms
                types.setdefault(event.name, event.type)
            for name, time_ms in once.items():
                times.setdefault(name, []).append(time_ms)
        medians = {name: float(np.median(values)) for name, values in times.items()}
        total = sum(medians.values()) or 1.0
        return [
            _layer_time(name, types[name], values, medians[name] / total) for name, values in times.items()
        ]

    def as_json(self) -> dict[str, Any]:
        """The form in JSON: names once, then an entry per event."""
        places: Dict[Tuple[str, str], int] = {}
        iterations = [
            [
                [
                    places.setdefault((event.name, event.type), len(places)),
                    round(event.start_ms, 6),
                    round(event.time_ms, 6),
                ]
                for event in events
            ]
            for events in self.iterations
        ]
        return {
            "batch": self.batch,
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
            "profiler": self.profiler,
            "layers": [list(place) for place in places],
            "iterations": iterations,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LayerProfile:
        """The inverse of `as_json`."""
        names = value["layers"]
        return cls(
            batch=value["batch"],
            shapes={name: tuple(shape) for name, shape in value["shapes"].items()},
            profiler=value["profiler"],
            iterations=tuple(
                tuple(
                    LayerEvent(names[place][0], names[place][1], start_ms, time_ms)
                    for place, start_ms, time_ms in events
                )
                for events in value["iterations"]
            ),
        )


def profiles_as_json(profiles: Sequence[LayerProfile]) -> dict[str, Any]:
    """The document that is kept of a run: a profile for each of its shapes."""
    return {"version": _VERSION, "profiles": [profile.as_json() for profile in profiles]}


def profiles_from_json(value: Any) -> list[LayerProfile]:
    """The inverse of `profiles_as_json`.

    Raises:
        CorruptArtifactError: it is something else, or of a later release.
    """
    try:
        if value["version"] != _VERSION:
            raise CorruptArtifactError(
                f"this profile is of version {value['version']}, known is {_VERSION}", hint="Update the farm."
            )
        return [LayerProfile.from_json(item) for item in value["profiles"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise CorruptArtifactError(f"this is no profile of layers: {error!r}") from error


def _layer_time(name: str, kind: str, values: List[float], share: float) -> LayerTime:
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return LayerTime(
        name=name,
        type=kind,
        median_ms=float(np.median(ordered)),
        mean_ms=float(ordered.mean()),
        p90_ms=percentile_of_enough(ordered, 90),
        count=int(ordered.size),
        share=share,
    )
