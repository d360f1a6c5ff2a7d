"""The one place that imports torch, and keeps its exporters' chatter away from the user."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
import warnings
from typing import TYPE_CHECKING, Any

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
                raise InvalidRequestError(f"{name} does not load: {_one_line(error)}", hint=_HINT) from error
            raise InvalidRequestError(
                f"exporting from PyTorch needs {name}, which is not installed", hint=_HINT
            ) from error
        except (ImportError, OSError) as error:
            raise InvalidRequestError(f"{name} does not load: {_one_line(error)}", hint=_HINT) from error
    return sys.modules["torch"]


@contextlib.contextmanager
def user_prints_aside() -> Iterator[None]:
    """What the user's own code prints goes to standard error: standard output is the command's."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def quiet() -> Iterator[list[str]]:
    """Keeps away what exporters write, from C++ too; it ends up in the list that this gives, as one text.

    What they have to say is in what they raise. A person who needs all of it asks for the trace.
    """
    said: list[str] = []
    with tempfile.TemporaryFile() as aside:
        sys.stdout.flush()
        sys.stderr.flush()
        kept = [os.dup(1), os.dup(2)]
        with (
            open(os.dup(aside.fileno()), "w", errors="replace") as text,  # noqa: PTH123
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            os.dup2(aside.fileno(), 1)
            os.dup2(aside.fileno(), 2)
            try:
                with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
                    yield said
            finally:
                text.flush()
                for number, saved in zip((1, 2), kept, strict=True):
                    os.dup2(saved, number)
                    os.close(saved)
        aside.seek(0)
        said.append(aside.read().decode(errors="replace"))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
