"""`--metric SOURCE.py:FUNCTION`: a user's own metrics, looked at without running them, and stored."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

from cli.networks import place_of_function
from farm.domain.digests import digest_of_file
from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean
from farm.domain.user_metrics import UserMetric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from farm.bootstrap import Farm

_ARGUMENTS = ("expected", "actual", "inputs")
_HINT = "--metric metrics.py:f1, with `def f1(expected, actual, inputs)` in the file."


def metric_paths(values: Mapping[str, Any]) -> tuple[Path, ...]:
    """The files of the metrics of a wish, in their order.

    Raises:
        InvalidSpecError: a word names no file.
    """
    return tuple(_place(word)[0] for word in values.get("metric", ()))


def user_metrics(values: Mapping[str, Any]) -> tuple[UserMetric, ...]:
    """The metrics of a wish.

    Raises:
        InvalidSpecError: one names no function that could be called, or two are called the same.
    """
    found: dict[str, UserMetric] = {}
    for word in values.get("metric", ()):
        path, function = _place(word)
        _check(path, function)
        if function in found:
            raise InvalidSpecError(f"two metrics are called {function}", hint="Rename one of the functions.")
        found[function] = UserMetric(function, path.name, digest_of_file(path).sha256)
    return tuple(found.values())


def keep_metrics(farm: Farm, paths: Sequence[Path], metrics: Sequence[UserMetric]) -> None:
    """Stores the files of metrics.

    Raises:
        InvalidSpecError: one was changed since it was looked at.
        StoreUnavailableError: the store can not be written.
    """
    for path, metric in zip(paths, metrics, strict=True):
        digest = farm.store.put_file(path)
        if digest.sha256 != metric.sha256:
            raise InvalidSpecError(f"{path} was changed while it was submitted", hint="Try again.")
        with farm.database.transaction() as transaction:
            transaction.engines.add_artifact(digest, "metric")


def _place(word: str) -> tuple[Path, str]:
    place = place_of_function(Path(word))
    if place is None:
        raise InvalidSpecError(f"{word!r} names no function of a Python file", hint=_HINT)
    return place


def _check(path: Path, function: str) -> None:
    """Refuses what can not be called with three arguments; the file is read, not run."""
    try:
        tree = ast.parse(path.read_bytes(), filename=path.name)
    except OSError as error:
        raise InvalidSpecError(f"{path} can not be read: {error.strerror}", hint=_HINT) from error
    except SyntaxError as error:
        raise InvalidSpecError(f"{path.name}:{error.lineno}: is no Python: {error.msg}") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidSpecError(f"{path.name} is no Python: {error}") from error
    there = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if function not in there:
        raise InvalidSpecError(
            f"{path.name} has no function {function!r} at its top level", hint=did_you_mean(function, there)
        )
    arguments = there[function].args
    count = len(arguments.posonlyargs) + len(arguments.args)
    least = count - len(arguments.defaults)
    takes = least <= len(_ARGUMENTS) and (count >= len(_ARGUMENTS) or arguments.vararg is not None)
    if not takes or any(default is None for default in arguments.kw_defaults):
        raise InvalidSpecError(
            f"{path.name}:{there[function].lineno}: {function} must take ({', '.join(_ARGUMENTS)})",
            hint=_HINT,
        )
