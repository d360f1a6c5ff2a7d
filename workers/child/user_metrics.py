"""Runs a user's own metrics: code of whoever submits, in a child that holds no device and no engine."""

from __future__ import annotations

import importlib.util
import math
import sys
import traceback
from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, TypeVar

import numpy as np

from farm.domain.errors import AccuracyError, FarmError, InvalidSpecError, OutOfMemoryError
from farm.domain.user_metrics import MOST_FIGURES
from workers.arrays import GOLDEN, golden_outputs, read_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from workers.child.metrics_request import MetricsRequest

T = TypeVar("T")

#: A user's file is imported under it, so that it meets no module of that name.
_MODULE = "farm_user_metric"


def compute_metrics(request: MetricsRequest) -> Dict[str, float]:
    """The figures by name: the function's, or `FUNCTION.KEY` for each of those that it gives.

    Raises:
        InvalidSpecError: a function failed, or gives something else than figures; names its file and line.
        AccuracyError: a figure is NaN or infinite.
        OutOfMemoryError: a function took more memory than there is.
    """
    arrays = read_arrays(request.inputs_path)
    actual = read_arrays(request.actual_path)
    golden = golden_outputs(arrays)
    expected = golden if request.expected_path is None else read_arrays(request.expected_path)
    inputs = {name: array for name, array in arrays.items() if not name.startswith(GOLDEN)}
    found: Dict[str, float] = {}
    for function, path in request.metrics:
        call = _imported(path, function)
        # Copies: what one of them does to its arrays is not the next one's affair.
        given = [{name: array.copy() for name, array in some.items()} for some in (expected, actual, inputs)]
        answer = _calling(lambda: call(*given), path)  # noqa: B023 - called at once
        found.update(_figures(function, answer, path))
    return found


def _imported(path: Path, function: str) -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    assert spec is not None  # noqa: S101 - it ends in .py
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    # As Python itself does, for what looks its own module up.
    sys.modules[_MODULE] = module
    sys.dont_write_bytecode = True
    loader = spec.loader
    _calling(lambda: loader.exec_module(module), path)
    found = getattr(module, function, None)
    if not callable(found):
        raise InvalidSpecError(f"{path.name} has no function {function!r}")
    return found  # type: ignore[no-any-return]


def _calling(call: Callable[[], T], path: Path) -> T:
    """Runs code of the user's."""
    try:
        return call()
    except FarmError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError(f"{_where(error, path)} ran out of the host's memory") from error
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise InvalidSpecError(
            f"{_where(error, path)}: {what}",
            hint="A metric is called with (expected, actual, inputs), each a dict of arrays by name; it may import "
            "numpy. The log has the whole trace.",
        ) from error


def _where(error: BaseException, path: Path) -> str:
    """File, line and function of the last frame that is the user's."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path.name}:{own[-1].lineno} in {own[-1].name}" if own else path.name


def _figures(function: str, answer: Any, path: Path) -> Dict[str, float]:
    if isinstance(answer, Mapping):
        if len(answer) > MOST_FIGURES or not all(isinstance(key, str) and key.strip() for key in answer):
            raise InvalidSpecError(
                f"{path.name}: {function} gives no names of figures, or more than {MOST_FIGURES}"
            )
        named = {f"{function}.{key}": value for key, value in answer.items()}
    else:
        named = {function: answer}
    found = {}
    for name, value in named.items():
        array = np.asarray(value)
        if array.size != 1 or array.dtype.kind not in "fiub":
            raise InvalidSpecError(
                f"{path.name}: {function} gives {type(value).__name__} for {name}, which is no number",
                hint="A metric gives a number, or a dict of numbers by name.",
            )
        found[name] = float(array.reshape(()))
        if not math.isfinite(found[name]):
            raise AccuracyError(f"the metric {name} is {found[name]}, which never passes")
    return found
