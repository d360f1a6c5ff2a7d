"""What an engine is verified with: inputs, a reference, thresholds. Not part of its key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Tuple

from farm.domain.input_ranges import InputRange, ranges_as_json, ranges_from_json
from farm.domain.thresholds import Thresholds
from farm.domain.user_metrics import UserMetric

#: Precisions of a reference, the usual one first.
FP32, FP64 = REFERENCES = ("fp32", "fp64")


@dataclass(frozen=True)
class VerificationSpec:
    """What an engine is verified with.

    Attributes:
        inputs_sha256: digest of an `.npz` artifact with an array per input; empty for seeded random ones.
        seed: of the random inputs.
        thresholds: what it must reach.
        has_outputs: whether that file also says what is to be computed (`outputs/NAME`), so that no reference is.
        input_ranges: that the user gave for random inputs.
        vocabularies: ranges of integer inputs that the graph tells.
        reference: in which precision the reference is computed: `fp32` or `fp64`.
        metrics: the user's own.
        layerwise: whether it is held against the reference layer by layer, too.
    """

    inputs_sha256: str = ""
    seed: int = 0
    thresholds: Thresholds = field(default_factory=Thresholds)
    has_outputs: bool = False
    input_ranges: Mapping[str, InputRange] = field(default_factory=dict)
    vocabularies: Mapping[str, InputRange] = field(default_factory=dict)
    reference: str = FP32
    metrics: Tuple[UserMetric, ...] = ()
    layerwise: bool = False

    @property
    def known_ranges(self) -> dict[str, InputRange]:
        """Of all inputs whose range is known; the user's word counts."""
        return {**self.vocabularies, **self.input_ranges}

    @property
    def beyond_inputs(self) -> dict[str, Any]:
        """What the user asked for beside inputs and thresholds, so that figures of other runs are no answer."""
        ranges = {} if self.inputs_sha256 else ranges_as_json(self.input_ranges)
        reference = "" if self.has_outputs or self.reference == FP32 else self.reference
        return {
            **({"input_ranges": ranges} if ranges else {}),
            **({"reference": reference} if reference else {}),
            **(
                {"metrics": [[metric.function, metric.sha256] for metric in self.metrics]}
                if self.metrics
                else {}
            ),
            **({"layerwise": True} if self.layerwise else {}),
        }

    def as_json(self) -> dict[str, Any]:
        """The form in JSON; what is not set is not there, for other releases know nothing of it."""
        return {
            "inputs_sha256": self.inputs_sha256,
            "seed": self.seed,
            "thresholds": self.thresholds.as_json(),
            **({"has_outputs": True} if self.has_outputs else {}),
            **({"input_ranges": ranges_as_json(self.input_ranges)} if self.input_ranges else {}),
            **({"vocabularies": ranges_as_json(self.vocabularies)} if self.vocabularies else {}),
            **({"reference": self.reference} if self.reference != FP32 else {}),
            **({"metrics": [metric.as_json() for metric in self.metrics]} if self.metrics else {}),
            **({"layerwise": True} if self.layerwise else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> VerificationSpec:
        """The inverse of `as_json`."""
        return cls(
            value["inputs_sha256"],
            value["seed"],
            Thresholds(**value["thresholds"]),
            bool(value.get("has_outputs", False)),
            ranges_from_json(value.get("input_ranges", {})),
            ranges_from_json(value.get("vocabularies", {})),
            value.get("reference", FP32),
            tuple(map(UserMetric.from_json, value.get("metrics", ()))),
            bool(value.get("layerwise", False)),
        )
