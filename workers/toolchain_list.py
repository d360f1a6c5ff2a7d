"""`toolchains.toml`: the interpreters of a host, for operators who do not want to name them at every start.

::

    [[interpreter]]
    python = "/opt/trt86/bin/python"      # a path from the file's folder, or a whole one
    name = "TensorRT 8.6"                 # for people; may be left out
    devices = ["0", "GPU-4f1c"]           # as for --device; all devices if left out
    environment = { LD_LIBRARY_PATH = "/opt/trt86/lib" }    # of its children; may be left out
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidRequestError
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME = "toolchains.toml"
_KEYS = ("python", "name", "devices", "environment")
#: What the farm itself says to every child, or keeps from it.
_RESERVED = re.compile(
    r"FARM_.*|ENGINE_FARM_.*|HOME|TMPDIR|PYTHON(PATH|HOME|SAFEPATH|UNBUFFERED|USERBASE)"
    r"|CUDA_(VISIBLE_DEVICES|DEVICE_ORDER)"
)


@dataclass(frozen=True)
class ListedInterpreter:
    """An interpreter that an operator named.

    Attributes:
        python: the executable.
        name: for people; empty if it has none.
        devices: words for the devices that it is for, as `--device` takes them; none for all.
        environment: variables of its children beside those that every child has.
        where: the file and the place in it; empty if it was named elsewhere.
    """

    python: Path
    name: str = ""
    devices: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    where: str = field(default="", compare=False)


def read_toolchain_list(path: Path) -> list[ListedInterpreter]:
    """The interpreters of a file, in its order.

    Raises:
        InvalidRequestError: it can not be read, or does not say what it should.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequestError(f"{path} can not be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{path} is no TOML: {error}") from error
    unknown = sorted(set(document) - {"interpreter"})
    entries = document.get("interpreter", [])
    if unknown or not isinstance(entries, list):
        what = f"has {unknown[0]!r}" if unknown else "has one 'interpreter' instead of a list"
        raise InvalidRequestError(f"{path} {what}", hint="It is a list of [[interpreter]] tables.")
    return [_entry(path, number, entry) for number, entry in enumerate(entries, start=1)]


def _entry(path: Path, number: int, entry: Any) -> ListedInterpreter:
    where = f"{path}: interpreter {number}"
    if not isinstance(entry, dict):
        raise InvalidRequestError(f"{where} is no table", hint="Write [[interpreter]] above it.")
    for key in entry:
        if key not in _KEYS:
            raise InvalidRequestError(f"{where} has {key!r}", hint=did_you_mean(key, _KEYS))
    python, name = entry.get("python"), entry.get("name", "")
    if not isinstance(python, str) or not python:
        raise InvalidRequestError(f"{where} has no python", hint='Such as python = "/opt/trt86/bin/python".')
    if "\0" in python:
        raise InvalidRequestError(f"{where}: python has a character that no file has")
    try:
        # Not resolved: a virtual environment is a link.
        path_of_python = path.absolute().parent / Path(python).expanduser()
    except RuntimeError as error:
        raise InvalidRequestError(f"{where}: python is {python!r}, but there is no such user") from error
    if not isinstance(name, str):
        raise InvalidRequestError(f"{where}: name must be a text")
    devices = entry.get("devices", [])
    if not isinstance(devices, list) or not all(isinstance(word, str) and word for word in devices):
        raise InvalidRequestError(
            f"{where}: devices must be a list of texts", hint='Such as ["0", "GPU-4f1c"].'
        )
    return ListedInterpreter(
        python=path_of_python,
        name=name,
        devices=tuple(devices),
        environment=_environment(where, entry.get("environment", {})),
        where=where,
    )


def _environment(where: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise InvalidRequestError(f"{where}: environment must be a table of texts")
    for name in value:
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise InvalidRequestError(f"{where}: {name!r} is no name of a variable")
        if _RESERVED.fullmatch(name):
            raise InvalidRequestError(f"{where}: {name} is set by the farm itself")
        if "\0" in value[name]:
            raise InvalidRequestError(f"{where}: {name} has a character that no variable can hold")
    return dict(value)
