"""Samples as `farm submit` and `farm tune` take them: files, folders and lists, with what is done to images."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.benchmark_options import benchmark_options
from cli.render import show_note
from cli.shape_options import as_profiles
from farm.domain.calibration import ALGORITHMS
from farm.domain.errors import InvalidSpecError
from farm.domain.images import KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cli.build_request import Wish
    from farm.domain.models import Model
    from workers.samples.prepare import PreparedSamples

Command = TypeVar("Command", bound="Callable[..., Any]")

#: What is an `.npz` with an array per input already.
_READY = ".npz"
#: Least time between two notes of how far the reading is, in seconds.
_NOTE_GAP_S = 5.0
_ADDED = {
    "size": "Height times width of the samples: 224x224. [default: the model's]",
    "resize": "stretch, shorter-side[:256], letterbox[:114] or none. [default: stretch]",
    "crop": "center or none. [default: center after shorter-side]",
    "scale": "Times each pixel of 0 to 255. [default: 1/255; 1 for inputs of uint8]",
    "mean": "Taken away after that: 0.485,0.456,0.406. [default: 0]",
    "std": "Divided by after that: 0.229,0.224,0.225. [default: 1]",
    "layout": "nchw or nhwc. [default: the model's]",
    "colors": "rgb, bgr or gray. [default: by the model's channels]",
}

_IMAGES = (
    *(click.option(f"--image-{key}", help=f"Images as samples. {_ADDED[key]}") for key in KEYS),
    click.option(
        "--skip-broken-images",
        is_flag=True,
        help="Leave out samples that can not be read, instead of refusing all.",
    ),
)
_LABELS = (
    click.option(
        "--labels",
        type=click.Path(path_type=Path),
        help="Classes of the images of --inputs: name,class on each line. [default: labels.csv or labels.txt in the "
        "folder]",
    ),
)


_CALIBRATION = (
    click.option(
        "--calibration",
        type=click.Path(path_type=Path),
        help="Samples that INT8 and FP8 are calibrated with: a folder or list (.txt) of images or arrays, an .npz with "
        "an array per input, an .npy; or `random`, for speed alone. [default: none]",
    ),
    click.option(
        "--calibration-algorithm",
        help=f"{', '.join(ALGORITHMS)}. [default: entropy]",
    ),
    click.option("--calibration-batch", type=int, help="Samples that go in at once. [default: 1]"),
    click.option("--calibration-samples", type=int, help="At most so many of them. [default: all]"),
)
_SEED = (click.option("--seed", type=int, help="Of the random inputs, where none are given. [default: 0]"),)


def image_options(command: Command) -> Command:
    """Gives a command the options of what is done to images."""
    return _with(_IMAGES, command)


def sample_options(command: Command) -> Command:
    """Gives a command the options of what is done to samples, and of their classes."""
    return _with((*_IMAGES, *_LABELS), command)


def calibration_options(command: Command) -> Command:
    """Gives a command the options that say what 8 bits are calibrated with."""
    return _with(_CALIBRATION, command)


def measuring_options(command: Command) -> Command:
    """Gives a command the options of random inputs and of timing."""
    return _with(_SEED, benchmark_options(command))


def _with(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def samples_as_wish(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options under the names of a spec file."""
    return {
        "images": {key: given[f"image_{key}"] for key in KEYS if given[f"image_{key}"] is not None},
        "skip_broken_images": given["skip_broken_images"] or None,
        "labels": str(given["labels"].absolute()) if given["labels"] else None,
    }


@dataclass
class MadeSamples:
    """The samples of a submission.

    Attributes:
        paths: an `.npz` by the key of the wish that asked for it: `inputs`, `calibration`.
        record: how those were made that were no `.npz`, by the same keys.
        ready: the keys whose `.npz` was given, and is still to be checked against the model.
    """

    paths: dict[str, Path] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)


def make_samples(ctx: click.Context, wish: Wish, model: Model) -> MadeSamples:
    """Every file of samples that a wish names, those that are no `.npz` made into one for as long as the command runs.

    Raises:
        InvalidSpecError: samples can not be read, do not fit the model, or are too many.
        InvalidRequestError: they are images and Pillow is not installed.
    """
    made, folder = MadeSamples(), None
    inputs = wish.values.get("inputs")
    named = {"inputs": Path(inputs) if inputs else None, "calibration": wish.calibration_path()}
    for key, path in named.items():
        if path is None:
            continue
        if path.suffix.lower() == _READY:
            made.paths[key] = path
            made.ready.add(key)
            continue
        folder = folder or Path(ctx.with_resource(tempfile.TemporaryDirectory(prefix="farm-samples-")))
        prepared = _prepared(wish, model, key, path, folder / f"{key}{_READY}")
        show_note(f"{key}: {_told(prepared, path, model)}")
        if key == "calibration" and prepared.count < wish.number("calibration_batch", 1):
            raise InvalidSpecError(
                f"{prepared.count} calibration sample(s) do not fill a batch of {wish.values['calibration_batch']}",
                hint="Give more samples, or a smaller --calibration-batch.",
            )
        made.paths[key] = prepared.path
        made.record[key] = {"from": path.name, **prepared.as_json()}
    _check_unused(wish, made)
    return made


def _prepared(wish: Wish, model: Model, key: str, path: Path, made_path: Path) -> PreparedSamples:
    from workers.samples.prepare import SampleWish, prepare_samples

    values, is_inputs = wish.values, key == "inputs"
    profiles = as_profiles(values.get("opt_shapes", ()))
    wanted = SampleWish(
        path,
        images=values.get("images", {}),
        labels_path=Path(values["labels"]) if is_inputs and "labels" in values else None,
        with_labels=is_inputs,
        most=0 if is_inputs else wish.number("calibration_samples", 0),
        skip_broken=bool(values.get("skip_broken_images")),
        opt_shapes=profiles[0] if profiles else {},
    )
    begin = time.monotonic()
    told = [begin]

    def progress(done: int, total: int) -> None:
        if time.monotonic() - told[0] >= _NOTE_GAP_S:
            told[0] = time.monotonic()
            show_note(f"{key}: read {done} of {total} …")

    return prepare_samples(wanted, model, made_path, progress)


def _told(prepared: PreparedSamples, path: Path, model: Model) -> str:
    how = prepared.preprocessing
    words = [f"{prepared.count} sample(s) from {path}"]
    words += [f"as {model.inputs[0]}: {how}"] if how is not None else []
    words += ["with their classes"] if prepared.has_labels else []
    words += [f"{prepared.left_out} at the end left out, for they fill no batch"] if prepared.left_out else []
    words += [f"{prepared.other_files} other file(s) left out"] if prepared.other_files else []
    words += [f"{len(prepared.skipped)} left out: {', '.join(prepared.skipped)}"] if prepared.skipped else []
    return "; ".join(words)


def _check_unused(wish: Wish, made: MadeSamples) -> None:
    """Refuses words about images where there are none.

    Raises:
        InvalidSpecError: there are such words.
    """
    images = [key for key, record in made.record.items() if record["images"]]
    if wish.values.get("images") and not images:
        raise InvalidSpecError(
            "--image-… says what to do to images, and no samples are images",
            hint="Give --calibration or --inputs a folder, or a list of images.",
        )
    if "labels" in wish.values and not made.record.get("inputs"):
        raise InvalidSpecError(
            "--labels names classes of images, and --inputs names no images",
            hint="In an .npz they are an array `labels`.",
        )
