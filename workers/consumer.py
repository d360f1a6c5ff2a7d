"""One consumer for one device: Celery brings wake-ups, a sweeper keeps SQL and Celery in step."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from celery.concurrency.thread import TaskPool
from celery.worker import WorkController
from kombu.entity import Queue

from farm.domain.errors import FarmError
from farm.services.attempts import rescue_expired
from farm.services.sweep import announce_due
from workers.attempt import run_job
from workers.queues import TASK, CeleryQueue, new_celery_app

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.targets import Target
    from workers.workplace import Workplace

_log = logging.getLogger(__name__)
_RESCUE_GAP_S = 2.0
_BEAT_GAP_S = 5.0
_RESTART_GAP_S = 1.0
_STOP_DEADLINE_S = 10.0
#: An announcement that led to nothing for so long is made again. In one process it can only get lost
#: with the process; a broker may be slow.
_EMBEDDED_PATIENCE_S = 5.0
_BROKER_PATIENCE_S = 60.0


class _Pool(TaskPool):  # type: ignore[misc]
    """Celery's pool of threads, in which a task is looked up in the app of its own consumer.

    Celery looks in the current app, which every thread has of its own, and else in the process's default one,
    where the task of this consumer is not.
    """

    def on_apply(self, target: Any, *args: Any, **kwargs: Any) -> Any:
        """Runs a task in a thread of the pool."""

        def in_own_app(*task_args: Any, **task_kwargs: Any) -> Any:
            self.app.set_current()
            return target(*task_args, **task_kwargs)

        return super().on_apply(in_own_app, *args, **kwargs)


class Consumer:
    """Takes jobs for one device, one at a time, until it is stopped.

    Args:
        place: what it works with.
        targets: that it serves.
        patience_s: when an announcement that has led to nothing is made again; the broker's usual one if none.
    """

    def __init__(
        self, place: Workplace, targets: Sequence[Target], *, patience_s: float | None = None
    ) -> None:
        self._place = place
        self._settings = place.farm.settings
        self._targets = frozenset(targets)
        usual_s = _EMBEDDED_PATIENCE_S if self._settings.is_embedded else _BROKER_PATIENCE_S
        self._patience_s = usual_s if patience_s is None else patience_s
        self._app = new_celery_app(self._settings)
        self._queue = CeleryQueue(self._app, self._settings.broker_url)
        self._busy = threading.Event()
        # Not shared: Celery would hand the task of one consumer to every later app of the process.
        self._app.task(name=TASK, shared=False)(self._run)
        names = sorted(target.queue for target in self._targets)
        self._app.conf.task_queues = [Queue(name) for name in names]  # type: ignore[no-untyped-call]
        self._controller: Any = None
        self._threads = [
            threading.Thread(target=self._consume, name="consumer", daemon=True),
            threading.Thread(target=self._sweep, name="sweeper", daemon=True),
        ]

    @property
    def is_busy(self) -> bool:
        """Whether an attempt is running."""
        return self._busy.is_set()

    def start(self) -> None:
        """Begins to take jobs."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Gives a running job back to the queue and leaves; waits for both."""
        self._place.stopping.set()
        self._threads[1].join()
        consumer, end = self._threads[0], time.monotonic() + _STOP_DEADLINE_S
        while consumer.is_alive() and not self._can_be_stopped and time.monotonic() < end:
            # Told to stop before it has begun, Celery would begin all the same.
            time.sleep(0.01)
        if self._controller is not None:
            self._controller.stop()
        # The job that ran has been given back by now. Celery hears of the end every two seconds only; inside
        # this process there is no message that it could still take along.
        consumer.join(timeout=0.1 if self._settings.is_embedded else max(end - time.monotonic(), 0.1))
        try:
            with self._place.farm.database.transaction() as transaction:
                transaction.fleet.stop(self._place.worker_id)
        except FarmError as error:
            _log.warning("leaving was not noted: %s", error)

    @property
    def _can_be_stopped(self) -> bool:
        """Whether Celery has come as far as its event loop: stopped before, it fails or begins all the same."""
        inner = getattr(self._controller, "consumer", None)
        return inner is not None and inner.blueprint.started == len(inner.steps)

    def _consume(self) -> None:
        while not self._place.stopping.is_set():
            try:
                self._consume_once()
            except Exception:  # noqa: BLE001 - without a consumer the worker would seem to live and do nothing
                _log.exception("the consumer could not work")
            if not self._place.stopping.wait(_RESTART_GAP_S):
                _log.warning("the consumer ended by itself; it begins again")

    def _consume_once(self) -> None:
        self._controller = WorkController(
            app=self._app,
            hostname=self._place.worker_id,
            pool_cls=_Pool,
            concurrency=1,
            loglevel=logging.WARNING,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        self._controller.start()

    def _run(self, job_id: str) -> None:
        """The Celery task: whatever goes wrong is the sweeper's to mend, never Celery's."""
        if self._place.stopping.is_set():
            return
        self._busy.set()
        try:
            run_job(self._place, job_id)
        except FarmError as error:
            _log.warning("job %s: %s", job_id, error)
        except Exception:  # noqa: BLE001 - a bug must not end the consumer
            _log.exception("job %s: a bug of the farm ended its attempt; the lease brings it back", job_id)
        finally:
            self._busy.clear()

    def _sweep(self) -> None:
        next_rescue = next_beat = 0.0
        while not self._place.stopping.is_set():
            try:
                now = time.monotonic()
                if now >= next_beat:
                    next_beat = now + _BEAT_GAP_S
                    self._beat()
                if now >= next_rescue:
                    next_rescue = now + _RESCUE_GAP_S
                    self._rescue()
                self._announce()
            except FarmError as error:
                _log.warning("the sweeper could not work: %s", error)
                self._place.stopping.wait(1.0)
            except Exception:  # noqa: BLE001 - a bug must not end the sweeper
                _log.exception("a bug of the farm in the sweeper; it goes on")
                self._place.stopping.wait(1.0)
            self._place.stopping.wait(self._settings.poll_s)

    def _beat(self) -> None:
        with self._place.farm.database.transaction() as transaction:
            transaction.fleet.beat(self._place.worker_id)

    def _rescue(self) -> None:
        for job, state in rescue_expired(self._place.farm.database):
            _log.warning("job %s was taken from a silent worker; now %s", job.id, state.value)
        with self._place.farm.database.transaction() as transaction:
            transaction.jobs.forget_announcements(self._patience_s)

    def _announce(self) -> None:
        database = self._place.farm.database
        if not self._settings.is_embedded:
            announce_due(database, self._queue)
        elif not self._busy.is_set():
            # In memory nobody else could take it, so a busy consumer leaves it to others.
            announce_due(database, self._queue, limit=1, targets=self._targets)
