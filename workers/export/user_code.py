"""The user's own part of a stack trace."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

import farm
import workers

#: Where code lies that the user did not write: the standard library, installed packages, the farm.
_FOREIGN = tuple(
    {
        str(Path(path).resolve())
        for path in (
            *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
            *(str(Path(str(package.__file__)).parent) for package in (farm, workers)),
        )
    }
)


def own_line(error: BaseException) -> str:
    """`nets.py:60 in forward`, the innermost line that is the user's own; empty if there is none.

    A file that does not parse has no frame; its own line is in the error.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{shown_path(error.filename)}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith("<") and not _is_foreign(frame.filename):
            return f"{shown_path(frame.filename)}:{frame.lineno} in {frame.name}"
    return ""


def first_line(error: BaseException) -> str:
    """What the error says, in one line: the first that says something."""
    text = str(error.msg if isinstance(error, SyntaxError) else error)
    return next((" ".join(line.split()) for line in text.splitlines() if line.strip()), "")


def told(error: BaseException) -> str:
    """`nets.py:60 in forward: ValueError: what it says`."""
    words = f"{type(error).__name__}: {first_line(error)}".rstrip(": ")
    where = own_line(error)
    return f"{where}: {words}" if where else words


def _is_foreign(name: str) -> bool:
    path = Path(name).resolve()
    return any(path.is_relative_to(folder) for folder in _FOREIGN)


def shown_path(name: str) -> str:
    """A path as people write it here: relative to the current folder where it lies below."""
    path = Path(name)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else name
