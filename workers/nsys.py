"""Nsight Systems around a child, where `nsys` is installed on the worker's host."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from farm.domain.errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path

_NAME = "nsys-report"
#: By the release of Nsight Systems: `.qdrep` before 2021.4.
_SUFFIXES = (".nsys-rep", ".qdrep")


def nsys_command(folder: Path, host: str) -> list[str]:
    """What a child's command is put behind so that `nsys profile` looks on; its report goes to a folder.

    Args:
        folder: scratch folder of the attempt.
        host: of the worker, for the message.

    Raises:
        BuildError: `nsys` is not installed here.
    """
    program = shutil.which("nsys")
    if program is None:
        raise BuildError(
            f"Nsight Systems is not installed on {host}: there is no `nsys` on its worker's PATH",
            hint="Install it there and restart the worker, or leave --nsys out: `farm profile` times layers by itself.",
        )
    return [
        program,
        "profile",
        f"--output={folder / _NAME}",
        "--force-overwrite=true",
        "--trace=cuda,nvtx,osrt",
        # Both need rights of the host that workers rarely have.
        "--sample=none",
        "--cpuctxsw=none",
    ]


def report_in(folder: Path) -> Path:
    """The report that was left in a folder; where it should be, if none was."""
    places = [folder / f"{_NAME}{suffix}" for suffix in _SUFFIXES]
    return next((place for place in places if place.exists()), places[0])
