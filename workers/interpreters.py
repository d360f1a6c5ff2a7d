"""The interpreters that toolchains live in: what each offers, found out by a probe in a child."""

from __future__ import annotations

import hashlib
import json
import os
import site
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from farm.domain.errors import InvalidRequestError
from farm.domain.identifiers import new_id
from farm.domain.toolchains import ToolchainDescription
from farm.settings import child_environment, inherited_python_path
from workers.toolchain_list import ListedInterpreter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: A cold import of TensorRT from a slow disk takes a while.
PROBE_DEADLINE_S = 120


@dataclass(frozen=True)
class Interpreter:
    """A Python interpreter and the toolchains in its environment.

    Attributes:
        path: of the executable.
        version: of Python.
        toolchains: what loads there.
        missing: name of each toolchain that does not load, and why.
        name: that an operator gave it; may be empty.
        devices: words for the devices that it is for; none for all.
        environment: variables of its children beside those that every child has.
    """

    path: Path
    version: str
    toolchains: tuple[ToolchainDescription, ...]
    missing: dict[str, str]
    name: str = ""
    devices: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def code_folder(scratch: Path) -> Path:
    """A folder with nothing but the packages that a child imports, for its PYTHONPATH.

    The farm's own site-packages would offer a child of another Python version packages that it can
    not load, so only these two are linked in. Every place that the farm is installed at has a folder of
    its own: a worker that runs on while another release is installed keeps the children that it knows.
    """
    sources = {name: Path(sys.modules[name].__path__[0]).resolve() for name in ("farm", "workers")}
    place = hashlib.sha256("\0".join(map(str, sources.values())).encode()).hexdigest()[:16]
    folder = scratch / "code" / place
    folder.mkdir(parents=True, exist_ok=True)
    for package, source in sources.items():
        link = folder / package
        if link.is_symlink() and link.readlink() == source:
            continue
        # In one step, since another process may be doing the same.
        fresh = folder / new_id(f".{package}")
        fresh.symlink_to(source)
        fresh.replace(link)
    return folder


def command_of_child(python: Path, request: Path, result: Path) -> list[str]:
    """How a child is started; `-s` keeps the user's own packages out of a toolchain's environment.

    Not in the farm's own interpreter: there the farm itself may be among them.
    """
    isolation = [] if is_own(python) else ["-s"]
    return [str(python), *isolation, "-m", "workers.child", str(request), str(result)]


def is_own(python: Path) -> bool:
    """Whether it is the interpreter that runs this code."""
    return str(python) == sys.executable


def python_path(python: Path, code: Path) -> str:
    """PYTHONPATH of a child: the linked packages first; what this process has, for its own interpreter."""
    return os.pathsep.join([str(code), *(inherited_python_path() if is_own(python) else [])])


def environment_of_child(python: Path, code: Path, folder: Path) -> dict[str, str]:
    """What a child's environment has beside what it inherits; its home and temporary folder are made.

    Args:
        python: its interpreter.
        code: folder that holds its packages.
        folder: its own, in which it may write.
    """
    own = {"HOME": folder / "home", "TMPDIR": folder / "tmp"}
    for place in own.values():
        place.mkdir(mode=0o700, exist_ok=True)
    return {
        **{name: str(place) for name, place in own.items()},
        "PYTHONPATH": python_path(python, code),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        # The farm itself may be installed there, and with another home it would not be found.
        **({"PYTHONUSERBASE": site.getuserbase()} if is_own(python) else {}),
    }


def probe_interpreter(python: Path, scratch: Path, listed: ListedInterpreter | None = None) -> Interpreter:
    """Asks an interpreter which toolchains it offers.

    Args:
        python: the executable.
        scratch: folder for files of the probe.
        listed: what an operator says of it.

    Raises:
        InvalidRequestError: it is no Python that the child runs on.
    """
    listed = listed or ListedInterpreter(python)
    place = f"{listed.where}: " if listed.where else ""
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        request, result = Path(folder) / "request.json", Path(folder) / "result.json"
        request.write_text(json.dumps({"operation": "probe"}))
        try:
            done = subprocess.run(
                command_of_child(python, request, result),
                # Not where the user happens to be: Python 3.10 would import what lies there.
                cwd=folder,
                env=child_environment(
                    {
                        **environment_of_child(python, code_folder(scratch), Path(folder).absolute()),
                        **listed.environment,
                    }
                ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=PROBE_DEADLINE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InvalidRequestError(
                f"{place}{python} does not answer as a Python interpreter: {error}"
            ) from error
        if not result.exists():
            last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise InvalidRequestError(
                f"{place}{python} can not run the farm's child: {last}",
                hint="It needs Python 3.10 or newer, and numpy.",
            )
        answer = json.loads(result.read_text())
    found = tuple(ToolchainDescription.from_json(value) for value in answer["toolchains"].values())
    return Interpreter(
        python,
        answer["python"],
        found,
        answer["missing"],
        name=listed.name,
        devices=listed.devices,
        environment=dict(listed.environment),
    )


def probe_interpreters(
    paths: Sequence[Path], scratch: Path, listed: Sequence[ListedInterpreter] = ()
) -> list[Interpreter]:
    """The farm's own interpreter first, then those that the operator names, then those of a file.

    What the file says of one of the first ones holds for it.

    Raises:
        InvalidRequestError: one of those named does not work.
    """
    # Absolute, since children run in folders of their own; not resolved, since a virtual environment is a link.
    named = [Path(sys.executable), *(path.absolute() for path in paths)]
    said: dict[tuple[Path, Path], tuple[Path, list[ListedInterpreter]]] = {}
    for path in named:
        said.setdefault(_identity(path), (path, []))
    for entry in listed:
        said.setdefault(_identity(entry.python), (entry.python, []))[1].append(entry)
    return [
        probe_interpreter(path, scratch, entry)
        for path, entries in said.values()
        for entry in entries or [ListedInterpreter(path)]
    ]


def _identity(python: Path) -> tuple[Path, Path]:
    """The same for the names of one interpreter, such as `python` and `python3` of a virtual environment."""
    return python.parent.resolve(), python.resolve()
