"""A model that a function defines with TensorRT's API, as files: a document, a Python file, and weights.

The document is written from what a user says (`write_network`), and read like any other model (`read_network`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.domain.digests import Digest, digest_of_file, digest_of_json
from farm.domain.error_texts import one_line
from farm.domain.errors import InvalidModelError
from farm.domain.model_formats import NETWORK
from farm.domain.models import Model, ModelFile
from farm.domain.networks import DOCUMENT, NetworkDefinition
from farm.storage.network_source import declared_tensors, takes_trt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from farm.domain.models import Tensor

#: No document is larger.
_LARGEST_DOCUMENT_BYTES = 1 << 20


def write_network(
    folder: Path,
    source: Path,
    function: str,
    weights: Path | None,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> Path:
    """Puts the files of a network together in a folder.

    Args:
        folder: where they go to; empty.
        source: the Python file.
        function: that defines the network.
        weights: an `.npz`; none for a function that needs none.
        inputs: as declared by the user; what the file itself says if there are none.
        outputs: likewise; they may be left open.

    Returns:
        The document, which `read_network` takes.

    Raises:
        InvalidModelError: a file can not be taken, or nobody says what the inputs are.
    """
    definition = NetworkDefinition(
        source=source.name,
        function=function,
        weights=weights.name if weights else "",
        inputs=tuple(inputs) or declared_tensors(source, "INPUTS"),
        outputs=tuple(outputs) or declared_tensors(source, "OUTPUTS"),
        takes_trt=takes_trt(source, function),
    )
    if not definition.inputs:
        raise InvalidModelError(
            f"nothing says what the inputs of {source.name}:{function} are",
            hint='Give --input NAME:SHAPE for each, or a constant INPUTS = {"data": "1x1x28x28"} in the file.',
        )
    try:
        shutil.copyfile(source, folder / source.name)
        if weights is not None:
            # Weights of gigabytes are not copied to be read once.
            (folder / weights.name).symlink_to(weights.absolute())
        document = folder / DOCUMENT
        document.write_text(json.dumps(definition.as_json(), indent=1))
    except OSError as error:
        raise InvalidModelError(f"{source} can not be taken: {error.strerror}") from error
    return document


def read_network(path: Path) -> Model:
    """The model of a document.

    Its digest covers the function's name, the Python file, every array of the weights by name, and the inputs and
    outputs as declared; what the files are called does not count.

    Raises:
        InvalidModelError: the document or a file that it names can not be taken.
    """
    definition = _definition(path)
    source = path.parent / definition.source
    weights = path.parent / definition.weights if definition.weights else None
    # Also looks whether it is Python that has the function.
    _check_call(definition, source)
    try:
        names = [path.name, definition.source, *([definition.weights] if weights else [])]
        files = tuple(ModelFile(name, digest_of_file(path.parent / name)) for name in names)
        arrays, parameters = _digests_of_arrays(weights) if weights else ({}, 0)
    except OSError as error:
        raise InvalidModelError(f"{error.filename} can not be read: {error.strerror}") from error
    content = {
        "format": NETWORK,
        "source": files[1].digest.sha256,
        "function": definition.function,
        "weights": arrays,
        # The symbols of open dimensions are for people.
        "inputs": [_identity(tensor) for tensor in definition.inputs],
        "outputs": [_identity(tensor) for tensor in definition.outputs],
    }
    return Model(
        digest=Digest(digest_of_json(content).sha256, sum(file.digest.size_bytes for file in files)),
        files=files,
        inputs=definition.inputs,
        outputs=definition.outputs,
        opset=0,
        ir_version=0,
        producer=f"{definition.source}:{definition.function}",
        parameters=parameters,
        format=NETWORK,
    )


def _definition(path: Path) -> NetworkDefinition:
    try:
        with path.open("rb") as stream:
            return NetworkDefinition.from_json(json.loads(stream.read(_LARGEST_DOCUMENT_BYTES)))
    except InvalidModelError as error:
        raise InvalidModelError(f"{path}: {error.message}", hint=error.hint) from error
    except OSError as error:
        raise InvalidModelError(f"{path} can not be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidModelError(f"{path} is no JSON") from error


def _check_call(definition: NetworkDefinition, source: Path) -> None:
    if takes_trt(source, definition.function) != definition.takes_trt:
        raise InvalidModelError(
            f"{DOCUMENT} does not say how {definition.source}:{definition.function} is called",
            hint="farm submit SOURCE.py:FUNCTION writes the document.",
        )


def _digests_of_arrays(path: Path) -> tuple[dict[str, list[Any]], int]:
    """Every array's type, shape and digest of its values, and how many values there are together.

    Raises:
        InvalidModelError: the file is no `.npz` of plain arrays.
    """
    found: dict[str, list[Any]] = {}
    count = 0
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                array = archive[name]
                digest = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
                found[name] = [array.dtype.str, list(array.shape), digest]
                count += array.size
    except (ValueError, AttributeError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidModelError(
            f"{path.name} is no .npz of plain arrays ({one_line(error)})",
            hint="Write it with numpy.savez(path, **arrays).",
        ) from error
    return found, count


def _identity(tensor: Tensor) -> dict[str, Any]:
    return {name: value for name, value in tensor.as_json().items() if name != "symbols"}
