"""Which files hold the samples that somebody names, in which order, and which class each is of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from farm.domain.errors import InvalidSpecError
from workers.samples.images import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence

LIST_SUFFIXES = frozenset({".txt", ".lst"})
ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
#: Found by themselves beside the images of a folder.
LABEL_FILES = ("labels.csv", "labels.txt")
_HINT = "Give a folder, a list of files (.txt), an .npz with an array per input, or an .npy for a model with one input."
#: So many names stand in a message.
MOST_NAMES = 200


@dataclass(frozen=True)
class SampleFile:
    """One file of a source.

    Attributes:
        name: as the list has it, or its path within the folder, with forward slashes.
        path: where it is.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class Source:
    """Files that are all of one kind.

    Attributes:
        path: what was named: a folder, a list or a file.
        files: in their order.
        is_images: whether they are images; else each is an array, or an array per input, of one sample.
        left_out: how many files of a folder are neither.
        labels_path: a file of labels that lies in the folder; none if there is none.
    """

    path: Path
    files: tuple[SampleFile, ...]
    is_images: bool
    left_out: int = 0
    labels_path: Path | None = None


def find_source(path: Path) -> Source:
    """The files that a folder, a list or one image comes to.

    A folder's files are sorted by name, those in folders within it too; a list keeps its order.

    Raises:
        InvalidSpecError: there are none, or images and arrays are mixed.
    """
    if not path.exists():
        raise InvalidSpecError(f"there is no file or folder {path}", hint=_HINT)
    try:
        if path.is_dir():
            return _folder(path)
        if path.suffix.lower() in LIST_SUFFIXES:
            return _of_one_kind(path, _listed(path))
    except OSError as error:
        raise InvalidSpecError(f"{path} can not be read: {error.strerror}") from error
    if path.suffix.lower() in SUFFIXES:
        return Source(path, (SampleFile(path.name, path),), is_images=True)
    raise InvalidSpecError(f"{path} holds no samples that the farm knows", hint=_HINT)


def _folder(folder: Path) -> Source:
    found, left_out = [], 0
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            if name.startswith(".") or (path.parent == folder and name in LABEL_FILES):
                continue
            if path.suffix.lower() in SUFFIXES | ARRAY_SUFFIXES:
                found.append(SampleFile(path.relative_to(folder).as_posix(), path))
            else:
                left_out += 1
    labels = next((folder / name for name in LABEL_FILES if (folder / name).is_file()), None)
    return _of_one_kind(folder, sorted(found, key=lambda file: file.name), left_out, labels)


def _listed(path: Path) -> list[SampleFile]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidSpecError(f"{path} is no list of files: it is not text") from error
    names = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    files = [SampleFile(name, path.parent / name) for name in names]
    missing = [file.name for file in files if not file.path.is_file()]
    if missing:
        raise InvalidSpecError(
            f"{path} names {len(missing)} file(s) that are not there: {some_of(missing)}",
            hint="A list has a path on each line, relative to the list's own folder.",
        )
    return files


def _of_one_kind(
    path: Path, files: Sequence[SampleFile], left_out: int = 0, labels_path: Path | None = None
) -> Source:
    if not files:
        kinds = ", ".join(sorted(SUFFIXES | ARRAY_SUFFIXES))
        raise InvalidSpecError(f"there are no samples in {path}", hint=f"Known are: {kinds}.")
    kinds_found = {file.path.suffix.lower() for file in files}
    unknown = kinds_found - SUFFIXES - ARRAY_SUFFIXES
    if unknown:
        raise InvalidSpecError(
            f"{path} names files of a kind that the farm does not know: {some_of(unknown)}"
        )
    if kinds_found & SUFFIXES and kinds_found & ARRAY_SUFFIXES:
        raise InvalidSpecError(f"{path} mixes images with arrays", hint="Give folders of their own.")
    return Source(path, tuple(files), bool(kinds_found & SUFFIXES), left_out, labels_path)


def read_labels(path: Path) -> dict[str, int]:
    """The class of every file that a file of labels names: `name,class` on each line, or `name class`.

    Raises:
        InvalidSpecError: a line says something else, or the file can not be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise InvalidSpecError(f"the labels {path} can not be read: {why}") from error
    found: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, _, label = text.rpartition("," if "," in text else "\t" if "\t" in text else " ")
        name, label = name.strip().strip('"'), label.strip().strip('"')
        if not label.isdecimal() or not name:
            if number == 1 and not any(character.isdecimal() for character in label):
                # The names of the columns.
                continue
            raise InvalidSpecError(
                f"{path}, line {number}: not a name and the number of its class: {text[:80]!r}",
                hint="Such as cat.png,281",
            )
        if found.setdefault(name, int(label)) != int(label):
            raise InvalidSpecError(f"{path} gives {name!r} two classes: {found[name]} and {label}")
    return found


def labels_of(names: Sequence[str], labels: dict[str, int], path: Path) -> list[int]:
    """The classes of files, found by their names as they are, or without their folders.

    Raises:
        InvalidSpecError: some have none.
    """
    found = [labels.get(name, labels.get(name.rpartition("/")[2])) for name in names]
    missing = [name for name, label in zip(names, found, strict=True) if label is None]
    if missing:
        raise InvalidSpecError(f"{path} has no class for {len(missing)} file(s): {some_of(missing)}")
    return [label for label in found if label is not None]


def some_of(names: Sequence[str] | set[str], most: int = MOST_NAMES) -> str:
    """Names for a message, and how many more there are."""
    listed = sorted(names) if isinstance(names, set) else names
    rest = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + rest
