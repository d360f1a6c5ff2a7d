"""Waiting for a submission: beside a worker that runs elsewhere, or with one in this process."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from cli.build_spread import precision_text
from cli.live import follow
from cli.render import show_json, show_line, show_note, show_table
from cli.tables import ENGINE_COLUMNS, engine_rows, progress_as_json, tainted_note
from farm.domain.errors import ConflictError, FolderInUseError, UnsupportedTargetError
from farm.domain.jobs import FailureClass, JobState

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm.bootstrap import Farm
    from farm.domain.work import Submission
    from farm.services.progress import SubmissionProgress

#: Exit codes of a submission that did not end well, by the class of its worst failure.
_EXIT_CODES = {
    FailureClass.REQUEST: 2,
    FailureClass.REFUSED: 5,
    FailureClass.TRANSIENT: 6,
    FailureClass.CORRUPT: 7,
    FailureClass.POISON: 8,
}
#: A worker that was just started may not have registered yet.
_GRACE_S = 3.0
#: The one of this process has its interpreters to look at.
_LOCAL_GRACE_S = 60.0


def grace(*, local: bool) -> Callable[[], bool]:
    """Whether there may still come a worker for what none serves, from now on.

    Args:
        local: whether a worker starts in this process.
    """
    until = time.monotonic() + (_LOCAL_GRACE_S if local else _GRACE_S)
    return lambda: time.monotonic() < until


def wait_for(
    farm: Farm, submission: Submission, *, local: bool, as_json: bool, shows_result: bool = True
) -> int:
    """Follows a submission to its end and shows what came of it.

    Args:
        farm: the open farm.
        submission: to be waited for.
        local: whether a worker runs in this process meanwhile.
        as_json: for programs.
        shows_result: whether to show what came of it if all went well; else the caller does.

    Returns:
        The exit code: 0 if every cell has its engine.

    Raises:
        ConflictError: nothing is running and no live worker could take what is left.
    """
    with ExitStack() as stack:
        if local:
            start_local_worker(farm, stack)
        try:
            progress = follow(farm, submission.id, quiet=as_json, may_wait=grace(local=local))
        except KeyboardInterrupt:
            show_note(
                f"\nStopped. What was queued goes on when a worker runs: `farm up`, then `farm watch {submission.id}`."
                if local
                else f"\nThe work goes on. Come back with `farm watch {submission.id}`."
            )
            return 130
    if progress.is_stuck:
        raise _in_vain(farm, submission)
    code = exit_code_of(progress)
    if not shows_result and not code:
        return code
    if as_json:
        show_json(progress_as_json(progress))
    else:
        show_result(farm, progress)
    return code


def _in_vain(farm: Farm, submission: Submission) -> ConflictError:
    """Why waiting ends: nobody serves the targets, or who does takes nothing new."""
    wanted = {cell.spec.target for cell in submission.cells}
    with farm.database.reading() as transaction:
        drained = [
            worker
            for worker in transaction.fleet.workers()
            if worker.is_live and worker.drain_reason and wanted & set(worker.targets)
        ]
    if drained:
        worker = drained[0]
        return ConflictError(
            f"submission {submission.id} is queued, but {worker.name} takes nothing new: {worker.drain_reason}",
            hint=f"`farm workers` shows all of them; `farm worker resume {worker.name}`, then `farm watch {submission.id}`.",
        )
    return ConflictError(
        f"submission {submission.id} is queued, but no live worker serves its targets, so waiting is in vain",
        hint=f"`farm up` starts a worker here, then `farm watch {submission.id}`; or submit again with --local."
        if farm.settings.is_embedded
        else f"Start a worker on such a machine, then `farm watch {submission.id}`.",
    )


def show_result(farm: Farm, progress: SubmissionProgress) -> None:
    """The table of engines, then what failed."""
    from farm.services.targets import slugs_of

    with farm.database.reading() as transaction:
        slugs = slugs_of(transaction)
    rows = [row for cell in progress.cells if cell.engine for row in engine_rows(cell.engine, slugs)]
    if rows:
        show_line()
        show_table(ENGINE_COLUMNS, rows)
        if note := tainted_note(rows):
            show_note(note)
    for cell in progress.cells:
        if cell.state is JobState.SUCCEEDED or cell.job is None:
            continue
        failure = cell.job.failure
        what = failure.message if failure else cell.state.value.lower()
        show_line(
            f"✗ {cell.slug} · {cell.cell.spec.target.toolchain} · {precision_text(cell.cell.spec)}: {what}"
        )
        if failure and failure.hint:
            show_line(f"  {failure.hint}")
        show_line(f"  `farm logs {cell.job.id}` shows its log.")


def exit_code_of(progress: SubmissionProgress) -> int:
    """0 if every cell has its engine, else the code of the worst failure's class; 1 for a cancelled one."""
    if progress.is_successful:
        return 0
    failures = [cell.job.failure for cell in progress.cells if cell.job and cell.job.failure]
    return max((_EXIT_CODES[failure.failure_class] for failure in failures), default=1)


def start_local_worker(farm: Farm, stack: ExitStack) -> None:
    """A worker for the first device of this machine that toolchains serve, in threads of this process.

    Raises:
        UnsupportedTargetError: nothing here serves any device.
    """
    from workers.agent import RunningWorker
    from workers.folder_lock import FolderLock
    from workers.leftovers import sweep_scratch
    from workers.machine import probe_machine
    from workers.offers import choose_devices, offer_of

    # Told to stop, by a time limit for one, it gives its job back as on Ctrl-C.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    stack.callback(signal.signal, signal.SIGTERM, before)
    try:
        stack.enter_context(FolderLock(farm.settings.home))
    except FolderInUseError as error:
        show_note(f"{error.message}: it does the work")
        return
    sweep_scratch(farm)
    interpreters = probe_machine(farm, ())
    reasons = []
    for device in choose_devices((), with_cpu=True):
        try:
            offer = offer_of(device, interpreters)
        except UnsupportedTargetError as error:
            reasons.append(error)
            continue
        stack.enter_context(RunningWorker(farm, offer, interpreters))
        return
    raise reasons[0]
