"""Runs tasks one step at a time, in an order that a test chooses."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_own = threading.local()
_PATIENCE_S = 60.0


def point() -> None:
    """A place where another task may go on; in a thread that is no task, nothing."""
    task: _Task | None = getattr(_own, "task", None)
    if task is not None:
        task.pause()


def interleave(tasks: Iterable[Callable[[], object]], choices: Iterable[int]) -> None:
    """Runs tasks to their ends; at every `point` the next choice says which of those that are left goes on.

    Args:
        tasks: each in a thread of its own, of which one runs at a time.
        choices: numbers; when there are no more, the first task that is left goes on.

    Raises:
        BaseException: the first that a task raised.
    """
    left = [_Task(run) for run in tasks]
    every = list(left)
    order = iter(choices)
    while left:
        task = left[next(order, 0) % len(left)]
        task.step()
        if task.is_over:
            left.remove(task)
    for task in every:
        if task.error is not None:
            raise task.error


class _Task:
    """A function in a thread that stands still at its points."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run
        self._may_go, self._stands = threading.Semaphore(0), threading.Semaphore(0)
        self.is_over = False
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def step(self) -> None:
        """Goes on to the next point, or to the end."""
        self._may_go.release()
        assert self._stands.acquire(timeout=_PATIENCE_S), "a task waits for another one between two points"
        if self.is_over:
            self._thread.join()

    def pause(self) -> None:
        """Called in the task's own thread."""
        self._stands.release()
        self._may_go.acquire()

    def _live(self) -> None:
        _own.task = self
        self._may_go.acquire()
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            self.error = error
        self.is_over = True
        self._stands.release()
