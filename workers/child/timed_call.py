"""What an engine is fed for one measurement, as a JSON document."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple

from workers.child.reference_request import shapes_as_json, shapes_from_json

if TYPE_CHECKING:
    from farm.domain.benchmarks import Measurement
    from farm.domain.shapes import Shape


class TimedCall(NamedTuple):
    """One measurement of a benchmark.

    Attributes:
        batch: the batch size that it stands for.
        shapes: every input's shape.
        values: of the inputs that hold a shape.
    """

    batch: int
    shapes: Mapping[str, Shape]
    values: Mapping[str, Shape] = MappingProxyType({})

    def as_json(self) -> dict[str, Any]:
        """The form in a request."""
        return {
            "batch": self.batch,
            "shapes": shapes_as_json(self.shapes),
            "values": shapes_as_json(self.values),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TimedCall:
        """The inverse of `as_json`."""
        return cls(value["batch"], shapes_from_json(value["shapes"]), shapes_from_json(value["values"]))


def samples_name(measurement: Measurement) -> str:
    """What the raw samples of a measurement are called among those of a run."""
    return f"batch{measurement.batch}_{measurement.method}"
