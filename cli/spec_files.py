"""A spec file: the keys that it may have, and a wish read from one and written to one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from cli.benchmark_options import BENCHMARK_WORDS, STREAMS
from cli.build_request import ATTEMPT, Wish, is_path, whole_number
from cli.shape_options import SHAPE_KEYS, shapes_for_file, shapes_from_file
from farm.domain.error_texts import one_line
from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LISTS = (
    "gpu",
    "toolchain",
    "precision",
    "batch",
    "baseline",
    "declared_inputs",
    "declared_outputs",
    "dynamic",
    "keep_fp32",
    "metric",
    STREAMS,
)
_MAPPINGS = ("set", "tags", "thresholds", "deadline", "images", "input_range")
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
    *BENCHMARK_WORDS,
    "calibration",
    "calibration_algorithm",
    "calibration_batch",
    "calibration_samples",
    "labels",
    "reference",
    "layerwise",
    "skip_broken_images",
    "builds",
)
_TEXTS = ("model", "name", "inputs", "salt", "calibration", "calibration_algorithm", "weights", "labels")
KNOWN = (*_WORDS, *_LISTS, *SHAPE_KEYS, *_MAPPINGS)


def read_wish(path: Path) -> Wish:
    """A spec file.

    Raises:
        InvalidSpecError: it can not be read, is no YAML, or has a key that means nothing.
    """
    import yaml

    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidSpecError(f"the spec file {path} can not be read: {one_line(error)}") from error
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
            value = [whole_number(item, key) if key in ("batch", STREAMS) else item for item in value]
            if key == "metric":
                value = [os.path.relpath(word, path.absolute().parent) for word in value]
        elif key in _MAPPINGS:
            value = dict(value)
        elif is_path(key, value):
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
