"""From a Python function that uses TensorRT's own API to a network; what it does wrong is told with its line.

Shared by TensorRT and TensorRT-RTX; the module `trt` is an argument. The function is the user's code: it runs here, in
the child, with what confines the child and nothing else.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
import zipfile
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from farm.domain.errors import FarmError, InvalidModelError, OutOfMemoryError
from farm.domain.models import Tensor
from farm.domain.networks import DOCUMENT, NetworkDefinition, fits
from farm.domain.suggestions import did_you_mean
from workers.toolchains.cuda_arrays import dtype_name
from workers.toolchains.trt_log import forget_device
from workers.toolchains.trt_network import parse_model

if TYPE_CHECKING:
    from pathlib import Path

    from workers.toolchains.trt_log import TrtLog

#: The user's file is imported under it, so that it meets no module of that name.
_MODULE = "farm_network_source"


def fill_network(trt: Any, network: Any, log: TrtLog, model_path: Path) -> Any:
    """Fills a network from a model: by the ONNX parser, or by the function that defines it.

    Returns:
        What must outlive the network: the parser, or the weights, which TensorRT does not copy.

    Raises:
        InvalidModelError: the model can not be taken; names the node, or the file and line.
    """
    if model_path.name != DOCUMENT:
        return parse_model(trt, network, log, model_path)
    return define_network(trt, network, log, model_path)


def define_network(trt: Any, network: Any, log: TrtLog, document: Path) -> Any:
    """Calls the function that a document names on a network, and looks at what it made of it.

    Returns:
        The weights and the function's module, which must outlive the network.

    Raises:
        InvalidModelError: the function failed, or made something else than was declared.
    """
    definition = NetworkDefinition.from_json(json.loads(document.read_text()))
    weights = _read_weights(document.parent / definition.weights) if definition.weights else {}
    module = _imported(document.parent / definition.source, log)
    arguments = (network, weights, trt) if definition.takes_trt else (network, weights)
    log.forget()
    _calling(lambda: getattr(module, definition.function)(*arguments), definition.source, log)
    _check(network, definition, log)
    return weights, module


def _read_weights(path: Path) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            # TensorRT keeps a bare pointer, and takes it for rows of the last dimension one after the other.
            return {name: np.array(archive[name], order="C", copy=True) for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidModelError(f"{path.name} is no .npz of plain arrays: {error}") from error


def _imported(path: Path, log: TrtLog) -> ModuleType:
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    assert spec is not None  # noqa: S101 - it ends in .py, which the farm looked at
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    # As Python itself does, for what looks its own module up: dataclasses, pickles.
    sys.modules[_MODULE] = module
    loader = spec.loader
    # The model's folder is read-only: nothing compiled is left in it.
    sys.dont_write_bytecode = True
    _calling(lambda: loader.exec_module(module), path.name, log)
    return module


def _calling(call: Any, source: str, log: TrtLog) -> None:
    """Runs code of the user's.

    Raises:
        InvalidModelError: it raised something, or wanted to end the process.
        OutOfMemoryError: it took more memory than there is.
    """
    try:
        call()
    except FarmError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(f"{_where(error, source)} ran out of the host's memory") from error
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        forget_device(log)
        said = log.quoted_errors()
        # TensorRT's bindings go on with every argument that they were given.
        what = " ".join(f"{type(error).__name__}: {error}".split()).partition(" Invoked with:")[0]
        raise InvalidModelError(
            f"{_where(error, source)}: {what}" + (f" ({log.name} said: {said})" if said else ""),
            hint=_hint(error, log),
        ) from error


def _where(error: BaseException, source: str) -> str:
    """File, line and function of the last frame that is the user's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.endswith(f"/{source}")]
    if not own:
        return source
    return f"{source}:{own[-1].lineno} in {own[-1].name}"


def _hint(error: BaseException, log: TrtLog) -> str:
    if isinstance(error, ImportError):
        return f"The function runs in the toolchain's interpreter ({log.name}): it may import numpy, and what is there."
    if isinstance(error, AttributeError) and "NoneType" in str(error):
        return "TensorRT gives None for a layer that it does not take."
    if isinstance(error, AttributeError):
        return f"{log.name} may have no such name: releases differ."
    if isinstance(error, KeyError):
        return "The weights have the names that they have in the file given with --weights."
    return "The log has the whole trace."


def _check(network: Any, definition: NetworkDefinition, log: TrtLog) -> None:
    """Compares what the function made with what was declared.

    Raises:
        InvalidModelError: it has no output, or other inputs or outputs.
    """
    what = f"{definition.source}:{definition.function}"
    forget_device(log)
    if log.errors:
        # A layer that was refused may have been left out without anybody looking at what came back.
        raise InvalidModelError(f"{what} did what {log.name} does not take: {log.quoted_errors()}")
    if not network.num_outputs:
        raise InvalidModelError(f"{what} marks no output", hint="Call network.mark_output(tensor) for each.")
    inputs = [network.get_input(number) for number in range(network.num_inputs)]
    outputs = [network.get_output(number) for number in range(network.num_outputs)]
    _compare("input", inputs, definition.inputs, what)
    if definition.outputs:
        _compare("output", outputs, definition.outputs, what)


def _compare(kind: str, found: list[Any], declared: tuple[Tensor, ...], what: str) -> None:
    there = {tensor.name: tensor for tensor in found}
    wanted = {tensor.name: tensor for tensor in declared}
    for name in there:
        if name not in wanted:
            raise InvalidModelError(
                f"{what} has an {kind} {name!r} that was not declared", hint=did_you_mean(name, wanted)
            )
    for name, tensor in wanted.items():
        if name not in there:
            raise InvalidModelError(
                f"{what} has no {kind} {name!r}, which was declared", hint=did_you_mean(name, there)
            )
        made = Tensor(name, dtype_name(there[name].dtype), tuple(there[name].shape))
        is_same_shape = made.shape == tensor.shape if kind == "input" else fits(tensor.shape, made.shape)
        if made.dtype != tensor.dtype or not is_same_shape:
            raise InvalidModelError(f"{what} makes {kind} {made}, and {tensor} was declared")
