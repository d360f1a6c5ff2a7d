"""What a user asks for: from options and a spec file to one request."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.shape_options import shapes_for_plan
from farm.domain.calibration import ALGORITHMS, RANDOM, USUAL_RANDOM_SAMPLES, Calibration
from farm.domain.durations import parse_duration
from farm.domain.errors import InvalidSpecError
from farm.domain.jobs import Phase
from farm.domain.precisions import canonical_precision
from farm.domain.suggestions import did_you_mean
from farm.domain.thresholds import LEAST, MOST, Thresholds
from farm.services.plan import BuildRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm.domain.digests import Digest

_PATHS = ("model", "inputs", "calibration", "weights", "labels")
#: In `deadline`, the limit of the attempt as a whole.
ATTEMPT = "attempt"
#: numpy takes none below 0; above it no column of SQL and no generator of PyTorch holds it.
LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Wish:
    """A submission in the user's words, as a spec file holds it.

    Attributes:
        values: by the names of the file's keys; lists as tuples, shapes parsed.
        folder: what relative paths in it are relative to.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    def overridden_by(self, options: Mapping[str, Any]) -> Wish:
        """The same with the options of the command line in place of what they name."""
        given = {key: value for key, value in options.items() if value not in (None, (), {}, "")}
        paths: dict[str, Any] = {
            key: str((self.folder / self.values[key]).absolute())
            for key in _PATHS
            if is_path(key, self.values.get(key)) and key not in given
        }
        if "plugin" in self.values:
            paths["plugin"] = tuple(str((self.folder / name).absolute()) for name in self.values["plugin"])
        if "metric" in self.values:
            paths["metric"] = tuple(str((self.folder / word).absolute()) for word in self.values["metric"])
        if "images" in given:
            given["images"] = {**self.values.get("images", {}), **given["images"]}
        return Wish({**self.values, **paths, **given})

    def model_path(self) -> Path:
        """The model's file.

        Raises:
            InvalidSpecError: none is given.
        """
        if "model" not in self.values:
            raise InvalidSpecError("no model is given", hint="farm submit model.onnx … or --spec build.yaml")
        return Path(self.values["model"])

    def calibration(self, data: Digest | None) -> Calibration | None:
        """What cells with INT8 are calibrated with; none if nothing was said.

        Args:
            data: digest of the samples; none for random ones.

        Raises:
            InvalidSpecError: a number is none, or makes no sense.
        """
        if "calibration" not in self.values:
            for key in ("calibration_algorithm", "calibration_batch", "calibration_samples"):
                if key in self.values:
                    raise InvalidSpecError(
                        f"{key.replace('_', '-')} says how to calibrate, and nothing says with what",
                        hint="Give --calibration samples.npz, or --calibration random.",
                    )
            return None
        usual = 0 if data else USUAL_RANDOM_SAMPLES
        return Calibration(
            data.sha256 if data else "",
            self.number("calibration_batch", 1),
            self.number("calibration_samples", usual),
            0 if data else self.seed(),
        )

    def calibration_algorithm(self) -> str:
        """How, in the user's word; empty for the usual one.

        Raises:
            InvalidSpecError: there is no such algorithm.
        """
        word = str(self.values.get("calibration_algorithm", "")).lower()
        if word and word not in ALGORITHMS:
            raise InvalidSpecError(
                f"unknown calibration algorithm {word!r}", hint=did_you_mean(word, ALGORITHMS)
            )
        return word

    def calibration_path(self) -> Path | None:
        """The file of samples; none if they are random or there are none."""
        word = self.values.get("calibration")
        return Path(word) if word is not None and word != RANDOM else None

    def build_request(self, calibration: Calibration | None, *, skip_unsupported: bool) -> BuildRequest:
        """The part that the plan is made from."""
        values = self.values
        return BuildRequest(
            gpus=tuple(values.get("gpu", ())),
            toolchains=tuple(values.get("toolchain", ())),
            precisions=tuple(map(canonical_precision, values.get("precision", ()))) or ("fp32",),
            **shapes_for_plan(values),
            batches=tuple(whole_number(batch, "batch") for batch in values.get("batch", ())),
            options=values.get("set", {}),
            kept_layers=tuple(values.get("keep_fp32", ())),
            salt=str(values.get("salt", "")),
            calibration=calibration,
            calibration_algorithm=self.calibration_algorithm(),
            skip_unsupported=skip_unsupported,
            builds=self.number("builds", 1),
        )

    def thresholds(self) -> Thresholds:
        """What an engine's accuracy must reach.

        Raises:
            InvalidSpecError: a threshold is unknown or no number.
        """
        given: Mapping[str, Any] = self.values.get("thresholds", {})
        known = Thresholds.names()
        own = {name for name in given if self.values.get("metric") and name.startswith((LEAST, MOST))} - {
            *known
        }
        for name, value in given.items():
            if name not in known and name not in own:
                raise InvalidSpecError(f"unknown threshold {name!r}", hint=did_you_mean(name, known))
            try:
                is_number = math.isfinite(float(value))
            except (TypeError, ValueError):
                is_number = False
            if not is_number:
                raise InvalidSpecError(f"threshold {name} is no number: {value!r}")
        limits: dict[str, Any] = {name: float(value) for name, value in given.items() if name not in own}
        return Thresholds(**limits, metrics={name: float(given[name]) for name in sorted(own)})

    def deadlines(self) -> dict[str, int]:
        """Seconds that an attempt (under `attempt`) and its phases may take, as far as anybody said.

        Raises:
            InvalidSpecError: there is no such phase, or it is no span of time.
        """
        given: Mapping[str, Any] = self.values.get("deadline", {})
        known = [ATTEMPT, *(phase.value for phase in Phase)]
        for name in given:
            if name not in known:
                raise InvalidSpecError(f"there is no phase {name!r}", hint=did_you_mean(name, known))
        found = {name: parse_duration(str(span)) for name, span in given.items()}
        if "deadline_s" in self.values:
            # As spec files of releases before 0.2 have it.
            found.setdefault(ATTEMPT, parse_duration(str(self.values["deadline_s"])))
        return found

    def queue_timeout_s(self) -> float | None:
        """Seconds that a job may wait for a worker; none for ever.

        Raises:
            InvalidSpecError: it is no span of time.
        """
        span = self.values.get("queue_timeout")
        return None if span is None else float(parse_duration(str(span)))

    def seed(self) -> int:
        """Of random inputs and samples.

        Raises:
            InvalidSpecError: it is no whole number, or none that a generator takes.
        """
        return checked_seed(self.number("seed", 0))

    def number(self, key: str, default: int) -> int:
        """A whole number of the file.

        Raises:
            InvalidSpecError: it is something else.
        """
        return whole_number(self.values[key], key) if key in self.values else default


def checked_seed(seed: int) -> int:
    """The seed, if a generator takes it.

    Raises:
        InvalidSpecError: none does.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise InvalidSpecError(f"a seed is a whole number from 0 to {LARGEST_SEED}, not {seed}")
    return seed


def is_path(key: str, value: Any) -> bool:
    """Whether a value names a file, which a spec file names relative to itself."""
    return key in _PATHS and value is not None and not (key == "calibration" and value == RANDOM)


def whole_number(value: Any, key: str) -> int:
    """A whole number.

    Args:
        value: as it was written.
        key: of the spec file, for the message.

    Raises:
        InvalidSpecError: it is something else.
    """
    try:
        return int(str(value))
    except ValueError:
        raise InvalidSpecError(f"{key} must be a whole number, not {value!r}") from None
