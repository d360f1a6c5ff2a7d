"""The table of docs/reliability.md."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import psycopg

from tests.server_programs import postgres_from_path, redis_from_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.chaos.ordeal import Outcome

_BEGIN, _END = "<!-- written by python -m tests.chaos -->", "<!-- end -->"
_HEADINGS = ("scenario", "runs", "faults", "jobs", "failed", "lost", "doubled", "other violations",
             "heal, median (s)", "heal, max (s)")  # fmt: skip


def table(
    outcomes: Mapping[str, Sequence[Outcome]], skipped: Mapping[str, str], *, at_once: int, size: int
) -> list[str]:
    """Lines of Markdown: what was run on what, and a row for every scenario.

    Args:
        outcomes: by the scenario's name.
        skipped: why a scenario could not be played.
        at_once: how many ordeals shared the machine.
        size: of the histories.
    """
    how = f"Histories of size {size}, {at_once} at a time, on {machine()}"
    lines = [how, "", _row(_HEADINGS), _row(["---"] * len(_HEADINGS))]
    for name, found in outcomes.items():
        if not found:
            lines.append(_row([name, 0, skipped.get(name, "not played"), *[""] * (len(_HEADINGS) - 3)]))
            continue
        others = sum(len(one.violations) - one.lost - one.doubled for one in found)
        counts = [sum(map(len, (one.faults for one in found))), sum(one.jobs for one in found),
                  sum(len(one.failed) for one in found), sum(one.lost for one in found),
                  sum(one.doubled for one in found), others]  # fmt: skip
        times = [one.heal_s for one in found]
        lines.append(_row([name, len(found), *counts, f"{median(times):.1f}", f"{max(times):.1f}"]))
    return lines


def _row(values: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, values)) + " |"


def machine() -> str:
    """What it was run on: versions and the kind of machine, and nothing that names one."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory_gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    parts = [
        f"{len(os.sched_getaffinity(0))} cores of {model[1] if model else platform.machine()}",
        f"{memory_gib:.0f} GiB",
        f"Linux {platform.release().split('-')[0]}",
        f"Python {platform.python_version()}",
        f"Celery {version('celery')}",
        f"psycopg {psycopg.__version__}",
        _said("PostgreSQL", postgres_from_path(), "postgres"),
        _said("Redis", redis_from_path(), None),
        f"engine-farm {version('engine-farm')}",
    ]
    return ", ".join(parts) + "."


def _said(name: str, place: Path | None, program: str | None) -> str:
    """The version that a server's program tells of itself."""
    if place is None:
        return f"{name} of a wheel"
    path = place / program if program else place
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"(?:v=|\) |\s)(\d+(?:\.\d+)+)", said)
    return f"{name} {found[1] if found else 'of unknown version'}"


def write_into(path: Path, lines: Sequence[str]) -> None:
    """Puts the table between the two marks of a document."""
    text = path.read_text()
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    path.write_text("\n".join([before + _BEGIN, "", *lines, "", _END]) + after)
