"""What an engine is verified with: inputs, a reference, thresholds. Not part of its key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from farm.domain.thresholds import Thresholds


@dataclass(frozen=True)
class VerificationSpec:
    """What an engine is verified with.

    Attributes:
        inputs_sha256: digest of an `.npz` artifact with an array per input; empty for seeded random ones.
        seed: of the random inputs.
        thresholds: what it must reach.
        has_outputs: whether that file also says what is to be computed (`outputs/NAME`), so that no reference is.
    """

    inputs_sha256: str = ""
    seed: int = 0
    thresholds: Thresholds = field(default_factory=Thresholds)
    has_outputs: bool = False

    def as_json(self) -> dict[str, Any]:
        """The form in JSON; what is not set is not there, for other releases know nothing of it."""
        return {
            "inputs_sha256": self.inputs_sha256,
            "seed": self.seed,
            "thresholds": self.thresholds.as_json(),
            **({"has_outputs": True} if self.has_outputs else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> VerificationSpec:
        """The inverse of `as_json`."""
        return cls(
            value["inputs_sha256"],
            value["seed"],
            Thresholds(**value["thresholds"]),
            bool(value.get("has_outputs", False)),
        )
