"""Weights kept outside the graph: which files may be read, and the digests of their bytes.

Where weights lie is written in the model, by whoever made it. A location that leads out of the
model's folder would let a model carry any file of this host into the store, and from there to
whoever fetches it. So a location is a plain relative name, no link is followed on the way, and
checks are made on the file that was opened rather than on its name, which may change in between.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from farm.domain.digests import CHUNK_BYTES, digest_of_chunks
from farm.domain.errors import InvalidModelError
from farm.domain.models import ModelFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

# Besides what POSIX splits on: Windows' separator and drive letters, and ONNX Runtime's `*/_ORT_MEM_ADDR_/*`,
# which has it read the memory of its process instead of a file.
_SPECIAL_CHARACTERS = frozenset("\\:*")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True)
class Slice:
    """The bytes of one tensor within an external file.

    Attributes:
        name: of the file, relative to the model's folder, with forward slashes.
        offset: where the bytes begin.
        length: how many bytes the tensor's element type and dimensions ask for.
    """

    name: str
    offset: int
    length: int


@dataclass(frozen=True)
class ExternalTensor:
    """A tensor whose bytes lie in an external file.

    Attributes:
        name: of the tensor, for messages.
        slice: its bytes.
        to_end: whether the model gave no length, so that the bytes reach to the end of the file.
    """

    name: str
    slice: Slice
    to_end: bool


def external_tensor(name: str, entries: Sequence[tuple[str, str]], expected_bytes: int) -> ExternalTensor:
    """What a tensor's `external_data` entries say.

    Args:
        name: of the tensor.
        entries: keys and values; other keys than location, offset and length mean nothing here.
        expected_bytes: what the tensor's element type and dimensions ask for.

    Raises:
        InvalidModelError: an entry is missing, given twice or not well-formed.
    """
    values = dict(entries)
    if len(values) != len(entries):
        # Readers differ in which of two they believe: one would be checked and the other read.
        raise InvalidModelError(f"the external data of tensor {name!r} has an entry twice")
    length = _whole_number("length", values.get("length", str(expected_bytes)), name)
    if length != expected_bytes:
        raise InvalidModelError(
            f"the external data of tensor {name!r} has {length} bytes, and its type and dimensions ask for "
            f"{expected_bytes}",
            hint="Export the model again.",
        )
    offset = _whole_number("offset", values.get("offset", "0"), name)
    location = _plain_location(values.get("location", ""), name)
    return ExternalTensor(name, Slice(location, offset, length), to_end="length" not in values)


def digest_external_files(
    folder: Path, tensors: Iterable[ExternalTensor], graph_name: str
) -> tuple[list[ModelFile], dict[Slice, str]]:
    """Every external file once, in the order of mention, and the sha256 of every slice.

    A file is read once whole and once for its slices, never more than a chunk at a time.

    Raises:
        InvalidModelError: a file is missing, may not be read, or is shorter than the model says.
    """
    by_file: dict[str, list[ExternalTensor]] = {}
    for tensor in tensors:
        by_file.setdefault(tensor.slice.name, []).append(tensor)
    files: list[ModelFile] = []
    sha256_of: dict[Slice, str] = {}
    for name, inside in by_file.items():
        if name == graph_name:
            raise InvalidModelError(f"tensor {inside[0].name!r} is kept in the graph's own file")
        with _opened(folder, name, inside[0].name) as descriptor:
            size = os.fstat(descriptor).st_size
            _check_bounds(name, size, inside)
            whole = digest_of_chunks(_chunks(descriptor, Slice(name, 0, size)))
            files.append(ModelFile(name, whole))
            sha256_of[Slice(name, 0, size)] = whole.sha256
            for piece in (tensor.slice for tensor in inside):
                if piece not in sha256_of:
                    sha256_of[piece] = digest_of_chunks(_chunks(descriptor, piece)).sha256
    return files, sha256_of


def _whole_number(key: str, text: str, tensor: str) -> int:
    # int() would also take signs, spaces, underscores and digits of other scripts; C++ readers do not.
    if not _WHOLE_NUMBER.fullmatch(text):
        raise InvalidModelError(
            f"the {key} of the external data of tensor {tensor!r} is {text[:40]!r}, not a number of bytes",
            hint="Export the model again.",
        )
    return int(text)


def _plain_location(location: str, tensor: str) -> str:
    path = PurePosixPath(location)
    if (
        not path.name
        or path.is_absolute()
        or ".." in path.parts
        or not _SPECIAL_CHARACTERS.isdisjoint(location)
        or not location.isprintable()
    ):
        raise InvalidModelError(
            f"the external data of tensor {tensor!r} lies at {location[:200]!r}, which is not a plain name "
            "inside the model's folder",
            hint="Save the model again, with its external data beside it.",
        )
    return str(path)


@contextlib.contextmanager
def _opened(folder: Path, name: str, tensor: str) -> Iterator[int]:
    """The open file of a location, reached without following a link."""
    what = f"external file {name!r} (tensor {tensor!r})"
    with contextlib.ExitStack() as stack:

        def step(part: str | Path, flags: int, above: int | None) -> int:
            descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=above)
            stack.callback(os.close, descriptor)
            return descriptor

        try:
            *folders, last = PurePosixPath(name).parts
            at = step(folder, os.O_DIRECTORY, None)
            for part in folders:
                _refuse_link(os.stat(part, dir_fd=at, follow_symlinks=False), what)
                at = step(part, os.O_DIRECTORY | os.O_NOFOLLOW, at)
            # Before opening, since to open a device can already do something.
            _refuse_irregular(os.stat(last, dir_fd=at, follow_symlinks=False), what)
            # And after, in case it was exchanged; O_NONBLOCK so that a FIFO could not hold us up.
            descriptor = step(last, os.O_NOFOLLOW | os.O_NONBLOCK, at)
            _refuse_irregular(os.fstat(descriptor), what)
        except FileNotFoundError:
            raise InvalidModelError(
                f"{what} is missing", hint="Put it into the model's folder, under the name in the model."
            ) from None
        except OSError as error:
            raise InvalidModelError(f"{what} can not be read: {error.strerror}") from error
        yield descriptor


def _refuse_link(status: os.stat_result, what: str) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise InvalidModelError(
            f"{what} is, or lies behind, a symbolic link, which could lead out of the model's folder",
            hint="Copy the model with its files: cp -rL FOLDER COPY.",
        )


def _refuse_irregular(status: os.stat_result, what: str) -> None:
    _refuse_link(status, what)
    if not stat.S_ISREG(status.st_mode):
        raise InvalidModelError(f"{what} is not a regular file")
    if status.st_nlink > 1:
        raise InvalidModelError(
            f"{what} has {status.st_nlink} hard links, so it may be a file from elsewhere under another "
            "name; onnx refuses it too",
            hint="Copy the model with its files to a new folder: cp -rL FOLDER COPY.",
        )


def _check_bounds(name: str, size: int, tensors: Sequence[ExternalTensor]) -> None:
    for tensor in tensors:
        end = tensor.slice.offset + tensor.slice.length
        if end > size:
            raise InvalidModelError(
                f"tensor {tensor.name!r} ends at byte {end} of external file {name!r}, which has {size}",
                hint="The file was cut short or belongs to another model: copy it again.",
            )
        if tensor.to_end and end != size:
            raise InvalidModelError(
                f"tensor {tensor.name!r} has no length, and external file {name!r} goes on after it",
                hint="Save the model again, so that every tensor has its length.",
            )
    # Tied weights share a slice and are read once. Slices that overlap otherwise could have a small
    # model read a large file a million times.
    if sum(piece.length for piece in {tensor.slice for tensor in tensors}) > size:
        raise InvalidModelError(
            f"tensors overlap in external file {name!r}",
            hint="Save the model again, so that every tensor has a place of its own.",
        )


def _chunks(descriptor: int, piece: Slice) -> Iterator[bytes]:
    at, end = piece.offset, piece.offset + piece.length
    while at < end:
        chunk = os.pread(descriptor, min(CHUNK_BYTES, end - at), at)
        if not chunk:
            raise InvalidModelError(f"external file {piece.name!r} shrank while it was read")
        yield chunk
        at += len(chunk)
