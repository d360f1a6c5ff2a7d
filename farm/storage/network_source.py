"""A Python file with a function that defines a network: read, never run."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidModelError, InvalidSpecError
from farm.domain.networks import tensor_of
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from farm.domain.models import Tensor

#: Of the first parameter of a function that defines a network; by it such a file is told from others.
_NETWORK = "network"
_MODULE = ("trt", "tensorrt")


def defines_network(path: Path, function: str) -> bool:
    """Whether a function looks like one that defines a network, by the name of its first parameter.

    Raises:
        InvalidModelError: the file can not be read, or is no Python.
    """
    return any(
        isinstance(node, ast.FunctionDef) and node.name == function and _names(node)[:1] == [_NETWORK]
        for node in _parsed(path).body
    )


def takes_trt(path: Path, function: str) -> bool:
    """Whether a function is called with TensorRT's module too, beside the network and the weights.

    Raises:
        InvalidModelError: the file is no Python, or has no such function, or it takes something else.
    """
    tree = _parsed(path)
    there = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if function not in there:
        raise InvalidModelError(
            f"{path.name} has no function {function!r} at its top level", hint=did_you_mean(function, there)
        )
    count = _arguments(there[function])
    if count is None:
        raise InvalidModelError(
            f"{path.name}:{there[function].lineno}: {function} must take (network, weights), or (network, weights, trt)"
        )
    return count == 3


def declared_tensors(path: Path, constant: str) -> tuple[Tensor, ...]:
    """What a constant such as `INPUTS = {"data": "1x1x28x28"}` of a file says; nothing if it has none.

    A value is a shape (`"Nx1x28x28"` or `("N", 1, 28, 28)`), or a pair of an element type and a shape.

    Raises:
        InvalidModelError: it is no such constant.
    """
    for node in _parsed(path).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            targets = [node.target]
        if any(isinstance(target, ast.Name) and target.id == constant for target in targets):
            value = node.value  # type: ignore[attr-defined]  # both kinds of assignment have one
            return _tensors(path, constant, value)
    return ()


def _tensors(path: Path, constant: str, node: ast.expr) -> tuple[Tensor, ...]:
    where = f"{path.name}:{node.lineno}"
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise InvalidModelError(
            f"{where}: {constant} is not made of constants alone, and the file is not run to read it",
            hint=f'Write {constant} = {{"data": "1x1x28x28"}}, or give it on the command line.',
        ) from error
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise InvalidModelError(
            f"{where}: {constant} does not map names to shapes", hint=f'{constant} = {{"data": "1x1x28x28"}}'
        )
    try:
        return tuple(_tensor(name, shape) for name, shape in value.items())
    except InvalidSpecError as error:
        raise InvalidModelError(f"{where}: {constant}: {error.message}", hint=error.hint) from error


def _tensor(name: str, value: Any) -> Tensor:
    is_pair = (
        isinstance(value, (list, tuple)) and len(value) == 2 and isinstance(value[1], (list, tuple, str))
    )
    return tensor_of(name, value[1], str(value[0])) if is_pair else tensor_of(name, value)


def _arguments(node: ast.FunctionDef) -> int | None:
    """How many of (network, weights, trt) a function is called with; none if neither two nor three would do."""
    names, arguments = _names(node), node.args
    least = len(names) - len(arguments.defaults)
    if any(default is None for default in arguments.kw_defaults):
        return None
    # A third one with a default is the function's own, unless its name says what it is.
    if len(names) >= 3 and least <= 3 and (least == 3 or names[2] in _MODULE):
        return 3
    return 2 if least <= 2 and (len(names) >= 2 or arguments.vararg) else None


def _names(node: ast.FunctionDef) -> list[str]:
    return [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes(), filename=path.name)
    except OSError as error:
        raise InvalidModelError(
            f"{path} can not be read: {error.strerror}", hint="Check the path."
        ) from error
    except SyntaxError as error:
        raise InvalidModelError(f"{path.name}:{error.lineno}: is no Python: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidModelError(f"{path.name} is no Python: {error}") from error
