"""From what somebody names as samples to one `.npz` with an array per input."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.domain.errors import InvalidRequestError, InvalidSpecError
from farm.domain.images import image_input, preprocessing_for
from farm.domain.shapes import shape_text
from workers.arrays import LABELS, check_inputs
from workers.samples.archive import Collected, write_archive
from workers.samples.images import UnreadableSampleError, read_image, require_pillow
from workers.samples.sample_arrays import check_collectable, open_rows, read_sample
from workers.samples.sources import Source, find_source, labels_of, read_labels, some_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from farm.domain.images import ImagePreprocessing
    from farm.domain.models import Model, Tensor
    from farm.domain.shapes import Shape

#: A builder reads them all into its memory: 7000 images of 3x224x224 in FP32.
MAX_SAMPLES_BYTES = 4 << 30


@dataclass(frozen=True)
class SampleWish:
    """What is to become samples.

    Attributes:
        path: an `.npy`, an image, a folder or a list of files.
        images: preprocessing, by the keys of a spec file's `images`.
        labels_path: classes of the samples; none to look for them in the folder, if `with_labels`.
        with_labels: whether classes are wanted.
        most: at most so many, from the first; 0 for all.
        skip_broken: whether files that can not be read are left out, instead of refused.
        opt_shapes: what the engine is tuned for, by input.
    """

    path: Path
    images: Mapping[str, Any] = field(default_factory=dict)
    labels_path: Path | None = None
    with_labels: bool = False
    most: int = 0
    skip_broken: bool = False
    opt_shapes: Mapping[str, Shape] = field(default_factory=dict)


@dataclass(frozen=True)
class PreparedSamples:
    """Samples in one file.

    Attributes:
        path: the `.npz`.
        count: how many there are.
        skipped: files that could not be read, with the reasons.
        left_out: how many samples at the end did not fill the model's fixed batch.
        preprocessing: what was done to images; none if they are arrays.
        has_labels: whether their classes are in it.
        other_files: how many files of the folder are no samples.
    """

    path: Path
    count: int
    skipped: tuple[str, ...] = ()
    left_out: int = 0
    preprocessing: ImagePreprocessing | None = None
    has_labels: bool = False
    other_files: int = 0

    def as_json(self) -> dict[str, Any]:
        """For the submission's record."""
        return {
            "samples": self.count,
            "skipped": list(self.skipped),
            "labels": self.has_labels,
            "images": self.preprocessing.as_json() if self.preprocessing else None,
        }


def prepare_samples(
    wish: SampleWish, model: Model, made_path: Path, progress: Callable[[int, int], None]
) -> PreparedSamples:
    """Makes an `.npz` of what somebody names; the same samples and preprocessing make the same bytes.

    Args:
        wish: what is to become samples.
        model: whose inputs they are for.
        made_path: where the file goes.
        progress: told how many of how many files are read.

    Raises:
        InvalidSpecError: samples can not be read (all of them are named), do not fit the model, or are too many.
        InvalidRequestError: they are images and Pillow is not installed, or the disk is full.
    """
    try:
        if wish.path.suffix.lower() == ".npy" and wish.path.is_file():
            return _from_rows(wish, model, made_path)
        return _from_files(wish, model, find_source(wish.path), made_path, progress)
    except OSError as error:
        raise InvalidRequestError(
            f"the samples can not be written to {made_path.parent}: {error.strerror}",
            hint="TMPDIR names another folder for them.",
        ) from error


def _from_rows(wish: SampleWish, model: Model, made_path: Path) -> PreparedSamples:
    (rows,) = open_rows(wish.path, model.inputs).values()
    (tensor,) = model.inputs
    check_inputs({tensor.name: rows[: wish.most] if wish.most else rows}, model.inputs)
    with ExitStack() as stack:
        arrays = {tensor.name: Collected(tensor.dtype, tuple(rows.shape[1:]))}
        stack.callback(arrays[tensor.name].close)
        count = min(len(rows), wish.most or len(rows))
        _check_size(arrays, count)
        for row in rows[:count]:
            arrays[tensor.name].add(row)
        labels = read_labels(wish.labels_path) if wish.with_labels and wish.labels_path else None
        if labels is not None:
            raise InvalidSpecError(
                f"the samples of {wish.path} have no names, so {wish.labels_path} says nothing of them",
                hint="Give an .npz with an array `labels`.",
            )
        write_archive(made_path, arrays, count)
    return PreparedSamples(made_path, count)


def _from_files(
    wish: SampleWish, model: Model, source: Source, made_path: Path, progress: Callable[[int, int], None]
) -> PreparedSamples:
    how: ImagePreprocessing | None = None
    if source.is_images:
        require_pillow()
        tensor = image_input(model.inputs)
        how = preprocessing_for(wish.images, tensor, wish.opt_shapes.get(tensor.name))
    else:
        check_collectable(model.inputs)
    reading = _Reading(source, model.inputs, how, wish)
    with ExitStack() as stack:
        stack.callback(reading.close)
        reading.read(progress)
        count = _whole_batches(reading.count, model.inputs)
        arrays, has_labels = dict(reading.arrays), False
        labels_path = wish.labels_path or source.labels_path
        if wish.with_labels and labels_path is not None:
            if LABELS in arrays:
                raise InvalidSpecError(
                    f"the model has an input {LABELS!r}: give classes in no file of their own"
                )
            arrays[LABELS], has_labels = Collected("int64", ()), True
            stack.callback(arrays[LABELS].close)
            for label in labels_of(reading.names, read_labels(labels_path), labels_path):
                arrays[LABELS].add(np.asarray(label))
        write_archive(made_path, arrays, count)
    return PreparedSamples(
        made_path,
        count,
        tuple(reading.broken),
        reading.count - count,
        how,
        has_labels,
        source.left_out,
    )


class _Reading:
    """The samples of a source, read one by one onto the disk."""

    def __init__(
        self, source: Source, inputs: Sequence[Tensor], how: ImagePreprocessing | None, wish: SampleWish
    ) -> None:
        self._source = source
        self._inputs = inputs
        self._how = how
        self._wish = wish
        self.arrays: dict[str, Collected] = {}
        self.names: list[str] = []
        self.broken: list[str] = []

    @property
    def count(self) -> int:
        return len(self.names)

    def read(self, progress: Callable[[int, int], None]) -> None:
        """Reads them.

        Raises:
            InvalidSpecError: some can not be read, they are too many, or none is left.
        """
        files, most = self._source.files, self._wish.most
        wanted = min(len(files), most or len(files))
        for number, file in enumerate(files):
            if most and self.count == most:
                break
            progress(number, wanted)
            try:
                self._take(file.name, self._sample(file.path), wanted)
            except UnreadableSampleError as error:
                self.broken.append(f"{file.name} ({error})")
        if self.broken and not self._wish.skip_broken:
            raise InvalidSpecError(
                f"{len(self.broken)} of the samples in {self._source.path} can not be taken: "
                f"{some_of(self.broken)}",
                hint="Mend or remove them, or give --skip-broken-images.",
            )
        if not self.names:
            raise InvalidSpecError(f"none of the samples in {self._source.path} can be read")

    def close(self) -> None:
        for collected in self.arrays.values():
            collected.close()

    def _take(self, name: str, sample: Mapping[str, NDArray[Any]], wanted: int) -> None:
        if not self.arrays:
            self.arrays = {
                tensor.name: Collected(tensor.dtype, sample[tensor.name].shape) for tensor in self._inputs
            }
            _check_size(self.arrays, wanted)
        for input_name, array in sample.items():
            if array.shape != self.arrays[input_name].shape:
                raise UnreadableSampleError(
                    f"its array {input_name!r} is {shape_text(array.shape)}, and the first one's is "
                    f"{shape_text(self.arrays[input_name].shape)}"
                )
        for input_name, array in sample.items():
            self.arrays[input_name].add(array)
        self.names.append(name)

    def _sample(self, path: Path) -> Mapping[str, NDArray[Any]]:
        if self._how is None:
            return read_sample(path, self._inputs)
        (tensor,) = self._inputs
        return {tensor.name: read_image(path, self._how, tensor.dtype)}


def _check_size(arrays: Mapping[str, Collected], count: int) -> None:
    total = count * sum(collected.sample_bytes for collected in arrays.values())
    if total > MAX_SAMPLES_BYTES:
        fit = MAX_SAMPLES_BYTES * count // total
        raise InvalidSpecError(
            f"{count} samples are {total / (1 << 30):.1f} GiB, and a build takes at most "
            f"{MAX_SAMPLES_BYTES >> 30} GiB",
            hint=f"--calibration-samples {fit} takes the first {fit}; for --inputs give a list of fewer files.",
        )


def _whole_batches(count: int, inputs: Sequence[Tensor]) -> int:
    """How many samples fill the model's fixed batch; all where it is open."""
    for tensor in inputs:
        batch = tensor.shape[0]
        if batch > 1:
            if count < batch:
                raise InvalidSpecError(f"{count} sample(s) do not fill the batch of input {tensor}")
            count -= count % batch
    return count
