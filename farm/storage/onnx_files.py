"""Reading an ONNX file that nobody vouches for.

The graph is parsed in memory, where protobuf allows it 2 GiB; weights kept outside the graph are only
streamed, so memory is bounded by the size of the graph file whatever the size of the model.

Importing this module is cheap: `onnx` itself is imported by the first call of `read_model`.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from farm.domain.digests import Digest, digest_of_bytes
from farm.domain.errors import InvalidModelError
from farm.domain.models import Model, ModelFile
from farm.storage.onnx_external_data import digest_external_files

if TYPE_CHECKING:
    from pathlib import Path

# Protobuf's limit on one message. A larger file would be refused by every reader, with a worse message.
_LARGEST_GRAPH_BYTES = 2**31 - 1

_OTHER_FORMATS = {
    b"version https://git-lfs": ("a Git LFS pointer", "Run git lfs pull."),
    b"PK\x03\x04": (
        "a zip archive, as PyTorch writes its .pt files",
        "Export the model with torch.onnx.export.",
    ),
    b"\x80\x02": ("a Python pickle", "Export the model with torch.onnx.export."),
    b"\x89HDF": ("an HDF5 file, as Keras writes it", "Export the model with tf2onnx."),
    b"\x1f\x8b": ("a gzip archive", "Unpack it first."),
    b"ftrt": ("a TensorRT engine", "Submit the ONNX model that it was built from."),
}


def read_model(path: Path) -> Model:
    """Read and check an ONNX model, and find out what it is identified by.

    Args:
        path: the graph; weights kept outside it are looked for in the same folder.

    Returns:
        The model, with the digest of its content and of every file that belongs to it.

    Raises:
        InvalidModelError: the file, or a file that it refers to, can not be taken. The message is
            one line, and its hint says what to do where something can be done.
    """
    try:
        return _read(path)
    except InvalidModelError as error:
        raise InvalidModelError(f"{path}: {error.message}", hint=error.hint) from error


def _read(path: Path) -> Model:
    return model_in(graph_bytes(path), path.name, path.parent)


def model_in(data: bytes, name: str, folder: Path) -> Model:
    """The model in the bytes of a graph file.

    Args:
        data: the graph.
        name: of its file.
        folder: where weights kept outside it are.

    Raises:
        InvalidModelError: it can not be taken.
    """
    graph_file = ModelFile(name, digest_of_bytes(data))
    _refuse_other_formats(data)

    # Late, because onnx takes longer to import than most commands take to run.
    from farm.storage import onnx_content, onnx_graph

    model = onnx_content.parse(data)
    # What is kept outside is looked at before onnx's checker, which opens such files with less care.
    slices = onnx_content.slices_of(model)
    external_files, slice_digests = digest_external_files(folder, slices, graph_name=name)
    opset, operators = onnx_graph.check_operators(model)
    inputs, outputs = onnx_graph.inputs_of(model), onnx_graph.outputs_of(model)
    onnx_graph.check_graph(model, data, has_external_data=bool(slices))
    if not slices:
        outputs = onnx_graph.with_inferred_shapes(model, data, outputs)
    producer = f"{model.producer_name} {model.producer_version}".strip()
    parameters = onnx_graph.parameters_of(model)

    files = (graph_file, *external_files)
    sha256 = onnx_content.content_sha256(model, slice_digests)
    structure = onnx_content.structure_sha256(model)
    return Model(
        digest=Digest(sha256, sum(file.digest.size_bytes for file in files)),
        files=files,
        inputs=inputs,
        outputs=outputs,
        opset=opset,
        ir_version=model.ir_version,
        producer=producer,
        parameters=parameters,
        operators=operators,
        structure_sha256=structure,
    )


def graph_bytes(path: Path) -> bytes:
    """The bytes of a graph file, with nothing but a regular file of a size that can be a graph taken for one.

    Raises:
        InvalidModelError: it is no such file.
    """
    if not path.name.isprintable():
        # Surrogates too: such a name fits neither JSON nor SQL.
        raise InvalidModelError("the file's name holds characters that can not be printed", hint="Rename it.")
    try:
        # Without O_NONBLOCK, opening a FIFO that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            _refuse_odd_file(status)
            # Never more than was measured: read() takes memory for all that it is asked for.
            data = stream.read(status.st_size)
    except FileNotFoundError:
        raise InvalidModelError("no such file", hint="Check the path.") from None
    except IsADirectoryError:
        raise InvalidModelError("is a folder", hint="Name the .onnx file inside it.") from None
    except OSError as error:
        raise InvalidModelError(f"can not be read: {error.strerror}") from error
    if len(data) != status.st_size:
        raise InvalidModelError("shrank while it was read")
    return data


def _refuse_odd_file(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise InvalidModelError("is a folder", hint="Name the .onnx file inside it.")
    if not stat.S_ISREG(status.st_mode):
        raise InvalidModelError("is not a regular file", hint="Save the model to a file.")
    if status.st_size == 0:
        raise InvalidModelError("is empty", hint="Export or copy the model again.")
    if status.st_size > _LARGEST_GRAPH_BYTES:
        raise InvalidModelError(
            f"the graph takes {status.st_size} bytes, and ONNX files end at 2 GiB",
            hint="Save it with external data: onnx.save(model, path, save_as_external_data=True).",
        )


def _refuse_other_formats(data: bytes) -> None:
    for magic, (what, hint) in _OTHER_FORMATS.items():
        if data.startswith(magic):
            raise InvalidModelError(f"is {what}, not an ONNX model", hint=hint)
