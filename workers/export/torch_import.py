"""The one place that imports torch, and keeps its exporters' chatter away from the user."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.domain.error_texts import one_line
from farm.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator

_HINT = "pip install 'engine-farm[torch]'"


def load_torch() -> Any:
    """PyTorch, and what its exporter needs.

    Raises:
        InvalidRequestError: it is not installed, or does not load.
    """
    for name in ("torch", "onnxscript"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise InvalidRequestError(f"{name} does not load: {one_line(error)}", hint=_HINT) from error
            raise InvalidRequestError(
                f"exporting from PyTorch needs {name}, which is not installed", hint=_HINT
            ) from error
        except (ImportError, OSError) as error:
            raise InvalidRequestError(f"{name} does not load: {one_line(error)}", hint=_HINT) from error
    return sys.modules["torch"]


@contextlib.contextmanager
def user_prints_aside() -> Iterator[None]:
    """What the user's own code prints goes to standard error: standard output is the command's."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps away what exporters write and warn of, from C++ too: what they have to say is in what they raise."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with Path(os.devnull).open("w") as nowhere, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        try:
            with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
                yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                # Loggers hold the streams themselves.
                stream.flush()
            for number, saved in zip((1, 2), kept, strict=True):
                os.dup2(saved, number)
                os.close(saved)
