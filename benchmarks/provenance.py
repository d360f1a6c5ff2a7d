"""Where figures come from: the machine, the versions, and the command that measures them again."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def provenance(program: str, packages: Sequence[str], file_option: str) -> dict[str, Any]:
    """The head of a file of figures.

    Args:
        program: how the benchmark is called.
        packages: whose versions matter.
        file_option: names the file that is written, and so is no part of the command.
    """
    words = sys.argv[1:]
    at = words.index(file_option) if file_option in words else len(words)
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "command": " ".join([program, *words[:at], *words[at + 2 :]]),
    }
