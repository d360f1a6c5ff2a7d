"""What a user asks for: from options and a spec file to one request, and back to a file."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.shape_options import SHAPE_KEYS, shapes_for_file, shapes_for_plan, shapes_from_file
from farm.domain.accuracy import Thresholds
from farm.domain.calibration import ALGORITHMS, RANDOM, USUAL_RANDOM_SAMPLES, Calibration
from farm.domain.durations import parse_duration
from farm.domain.errors import InvalidSpecError
from farm.domain.jobs import Phase
from farm.domain.precisions import canonical_precision
from farm.domain.suggestions import did_you_mean
from farm.services.plan import BuildRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm.domain.digests import Digest

_LISTS = ("gpu", "toolchain", "precision", "batch", "declared_inputs", "declared_outputs", "dynamic")
_PATHS = ("model", "inputs", "calibration", "weights", "labels")
_MAPPINGS = ("set", "tags", "thresholds", "deadline", "images")
_WORDS = (
    "model",
    "weights",
    "opset",
    "exporter",
    "name",
    "inputs",
    "salt",
    "seed",
    "max_attempts",
    "deadline_s",
    "queue_timeout",
    "priority",
    "warmup_ms",
    "duration_ms",
    "calibration",
    "calibration_algorithm",
    "calibration_batch",
    "calibration_samples",
    "labels",
    "skip_broken_images",
    "builds",
)
#: In `deadline`, the limit of the attempt as a whole.
ATTEMPT = "attempt"
_TEXTS = ("model", "name", "inputs", "salt", "calibration", "calibration_algorithm", "weights", "labels")
#: One attempt builds them all.
MOST_BUILDS = 32
KNOWN = (*_WORDS, *_LISTS, *SHAPE_KEYS, *_MAPPINGS)


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
            if _is_path(key, self.values.get(key)) and key not in given
        }
        if "plugin" in self.values:
            paths["plugin"] = tuple(str((self.folder / name).absolute()) for name in self.values["plugin"])
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
            0 if data else self.number("seed", 0),
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
            batches=tuple(_whole(batch, "batch") for batch in values.get("batch", ())),
            options=values.get("set", {}),
            salt=str(values.get("salt", "")),
            calibration=calibration,
            calibration_algorithm=self.calibration_algorithm(),
            skip_unsupported=skip_unsupported,
            builds=self.builds(),
        )

    def thresholds(self) -> Thresholds:
        """What an engine's accuracy must reach.

        Raises:
            InvalidSpecError: a threshold is unknown or no number.
        """
        given: Mapping[str, Any] = self.values.get("thresholds", {})
        known = Thresholds().as_json()
        for name, value in given.items():
            if name not in known:
                raise InvalidSpecError(f"unknown threshold {name!r}", hint=did_you_mean(name, known))
            try:
                is_number = math.isfinite(float(value))
            except (TypeError, ValueError):
                is_number = False
            if not is_number:
                raise InvalidSpecError(f"threshold {name} is no number: {value!r}")
        return Thresholds(**{**known, **{name: float(value) for name, value in given.items()}})

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

    def builds(self) -> int:
        """How often a cell is built, to keep the fastest engine.

        Raises:
            InvalidSpecError: it is no number, or too small or large a one.
        """
        builds = self.number("builds", 1)
        if not 1 <= builds <= MOST_BUILDS:
            raise InvalidSpecError(f"a cell is built 1 to {MOST_BUILDS} times, not {builds}")
        return builds

    def number(self, key: str, default: int) -> int:
        """A whole number of the file.

        Raises:
            InvalidSpecError: it is something else.
        """
        return _whole(self.values[key], key) if key in self.values else default


def _is_path(key: str, value: Any) -> bool:
    """Whether a value names a file, which a spec file names relative to itself."""
    return key in _PATHS and value is not None and not (key == "calibration" and value == RANDOM)


def read_wish(path: Path) -> Wish:
    """A spec file.

    Raises:
        InvalidSpecError: it can not be read, is no YAML, or has a key that means nothing.
    """
    import yaml

    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise InvalidSpecError(f"the spec file {path} can not be read: {why}") from error
    if not isinstance(document, dict):
        raise InvalidSpecError(f"the spec file {path} must be a mapping of names to values")
    return wish_of(document, path)


def wish_of(document: Mapping[str, Any], path: Path) -> Wish:
    """The content of a spec file.

    Args:
        document: names to values.
        path: where it comes from, for messages; what is relative in it is relative to its folder.

    Raises:
        InvalidSpecError: it has a key that means nothing, or a value that does not fit.
    """
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key not in KNOWN:
            raise InvalidSpecError(f"{path}: unknown key {key!r}", hint=did_you_mean(str(key), KNOWN))
        values[key] = _checked(path, key, value)
    return Wish(values, path.parent)


def write_wish(wish: Wish, path: Path) -> None:
    """Writes a spec file that asks for the same.

    Raises:
        InvalidSpecError: the file can not be written.
    """
    import yaml

    document: dict[str, Any] = {}
    for key in KNOWN:
        if key not in wish.values:
            continue
        value = wish.values[key]
        if key in SHAPE_KEYS:
            value = shapes_for_file(key, value, path.absolute().parent)
        elif key in _LISTS:
            value = [_whole(item, key) if key == "batch" else item for item in value]
        elif key in _MAPPINGS:
            value = dict(value)
        elif _is_path(key, value):
            # As a spec file's paths are read, so that the file travels with what lies beside it.
            value = os.path.relpath(value, path.absolute().parent)
        document[key] = value
    try:
        path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    except OSError as error:
        raise InvalidSpecError(f"the spec file {path} can not be written: {error.strerror}") from error


def _checked(path: Path, key: str, value: Any) -> Any:
    if key in _LISTS:
        # The commas of `NAME:0=batch,1=height` are its own.
        items = value if isinstance(value, list) else [value] if key == "dynamic" else str(value).split(",")
        return tuple(str(item).strip() for item in items)
    if key in SHAPE_KEYS:
        return shapes_from_file(path, key, value)
    if key == "deadline" and not isinstance(value, dict):
        value = {ATTEMPT: value}
    if key in _MAPPINGS:
        if not isinstance(value, dict):
            raise InvalidSpecError(f"{path}: {key} must map names to values")
        return {str(name): item if key != "tags" else str(item) for name, item in value.items()}
    if key in _TEXTS:
        if isinstance(value, (dict, list)) or value is None or value == "":
            raise InvalidSpecError(f"{path}: {key} must be a text, not {value!r}")
        return str(value)
    return value


def _whole(value: Any, key: str) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise InvalidSpecError(f"{key} must be a whole number, not {value!r}") from None
