"""Follow a submission: a live table on a terminal, a line per change elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from cli.build_spread import precision_text
from cli.render import console, seconds, show_note, table
from cli.tables import describe_state
from farm.domain.errors import TransientError
from farm.domain.jobs import JobState
from farm.services.progress import submission_progress

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from farm.bootstrap import Farm
    from farm.services.progress import CellProgress, SubmissionProgress

_POLL_S = 0.25
_SIGNS = {
    JobState.QUEUED: "·",
    JobState.RUNNING: "▸",
    JobState.SUCCEEDED: "✓",
    JobState.FAILED: "✗",
    JobState.CANCELLED: "–",
}


def follow(
    farm: Farm, submission_id: str, *, quiet: bool = False, may_wait: Callable[[], bool]
) -> SubmissionProgress:
    """Shows a submission until it is done, or until `may_wait` says that waiting is in vain.

    A database that is away for a moment is waited for. Ctrl-C is the caller's to handle.
    """
    show: Any = _Silent() if quiet else _LiveTable() if sys.stderr.isatty() else _Lines()
    with show:
        while True:
            try:
                with farm.database.reading() as transaction:
                    progress = submission_progress(transaction, submission_id)
            except TransientError as error:
                show_note(f"still trying: {error.message}")
                time.sleep(2)
                continue
            show.update(progress)
            if progress.is_done or (progress.is_stuck and not may_wait()):
                return progress
            time.sleep(_POLL_S)


class _Silent:
    """Shows nothing: the caller prints JSON."""

    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def update(self, _progress: SubmissionProgress) -> None:
        """Nothing to show."""


class _LiveTable:
    """A table that is drawn again in place."""

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(
            console=console(stderr=True, fits_terminal=True), refresh_per_second=8, transient=False
        )

    def __enter__(self) -> None:
        """Begins to draw."""
        self._live.start()

    def __exit__(self, *_: object) -> None:
        """Leaves the last drawing."""
        self._live.stop()

    def update(self, progress: SubmissionProgress) -> None:
        """Draws the table anew."""
        rows = [
            [
                _SIGNS[cell.state],
                cell.slug,
                str(cell.cell.spec.target.toolchain),
                precision_text(cell.cell.spec),
                cell.cell.job_id,
                _elapsed(cell),
                _bar(cell) + describe_state(cell)[:90],
            ]
            for cell in progress.cells
        ]
        self._live.update(table(["", "device type", "toolchain", "precision", "job", "time>", ""], rows))


class _Lines:
    """A line whenever a cell's state or phase changes."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[str, str, str]] = {}

    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def update(self, progress: SubmissionProgress) -> None:
        """Tells what changed."""
        for cell in progress.cells:
            phase = cell.attempt.phase if cell.attempt and cell.state is JobState.RUNNING else ""
            # Why it does not go on is worth a line of its own.
            now = (cell.state.value, phase, cell.attempt.waits if phase and cell.attempt else "")
            if self._seen.get(cell.cell.position) == now:
                continue
            self._seen[cell.cell.position] = now
            what = now[2] or phase or describe_state(cell)
            show_note(
                f"{_SIGNS[cell.state]} {cell.slug} · {cell.cell.spec.target.toolchain} · "
                f"{precision_text(cell.cell.spec)}: {cell.state.value.lower()}{f', {what}' if what else ''}"
            )


def _elapsed(cell: CellProgress) -> str:
    attempt = cell.attempt
    if attempt is None or cell.job is None:
        return ""
    return seconds(sum(attempt.seconds.values())) if attempt.finished_at else ""


def _bar(cell: CellProgress) -> str:
    attempt = cell.attempt
    if cell.state is not JobState.RUNNING or attempt is None or attempt.fraction is None:
        return ""
    filled = round(10 * attempt.fraction)
    return "█" * filled + "░" * (10 - filled) + " "
