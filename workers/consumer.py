"""One consumer for one device: Celery wakes it, SQL says which job is next."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from celery.concurrency.thread import TaskPool
from celery.worker import WorkController
from kombu.entity import Queue

from farm.bootstrap import check_signer
from farm.domain.errors import ConflictError, FarmError
from farm.log_repeats import REPEATS
from farm.logs import fields
from workers.canary import CanaryKeeper
from workers.claiming import run_next
from workers.presence import DEVICE_LOST, device_lost, why_gone
from workers.queues import TASK, CeleryQueue, new_celery_app
from workers.streak import FailureStreak
from workers.sweeper import Sweeper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.targets import Target
    from workers.claiming import Attempted
    from workers.workplace import Workplace

_log = logging.getLogger(__name__)
_RESTART_GAP_S = 1.0
_STOP_DEADLINE_S = 10.0
_PULSE_GAP_S = 1.0
#: How often a worker asks whether its signing key still counts; it asks as well whenever it signs.
KEY_GAP_S = 60.0


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
    """

    def __init__(self, place: Workplace, targets: Sequence[Target]) -> None:
        self._place = place
        self._settings = place.farm.settings
        self._app = new_celery_app(self._settings)
        self._busy = threading.Event()
        # Not shared: Celery would hand the task of one consumer to every later app of the process.
        self._app.task(name=TASK, shared=False)(self._wake)
        names = sorted(target.queue for target in targets)
        self._app.conf.task_queues = [Queue(name) for name in names]  # type: ignore[no-untyped-call]
        self._controller: Any = None
        self._streak = FailureStreak()
        self._sweeper = Sweeper(
            place.farm,
            CeleryQueue(self._app, self._settings.broker_url),
            place.worker_id,
            targets=frozenset(targets) if self._settings.is_embedded else None,
            is_busy=self._busy.is_set,
        )
        self._canary = CanaryKeeper(place, self._busy.is_set, self._drain_itself)
        self._threads = [
            threading.Thread(target=self._consume, name="consumer", daemon=True),
            threading.Thread(target=self._sweeper.run, args=(place.stopping,), name="sweeper", daemon=True),
            threading.Thread(target=self._live, name="pulse", daemon=True),
            threading.Thread(target=self._canary.run, args=(place.stopping,), name="canary", daemon=True),
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
        for thread in self._threads[1:]:
            thread.join()
        consumer, end = self._threads[0], time.monotonic() + _STOP_DEADLINE_S
        while consumer.is_alive() and not self._can_be_stopped and time.monotonic() < end:
            # Told to stop before it has begun, Celery would begin all the same.
            time.sleep(0.01)
        if self._controller is not None:
            self._stop_celery()
        # The job that ran has been given back by now. Celery hears of the end every two seconds only; inside
        # this process there is no message that it could still take along.
        consumer.join(timeout=0.1 if self._settings.is_embedded else max(end - time.monotonic(), 0.1))
        try:
            with self._place.farm.database.transaction() as transaction:
                transaction.fleet.stop(self._place.worker_id)
        except FarmError as error:
            _log.warning("leaving was not noted: %s", error)

    def _stop_celery(self) -> None:
        """Returns once nothing runs, even if Celery still waits for a broker's answer, for 30 s at the worst."""
        leaving = threading.Thread(target=self._controller.stop, name="leaving", daemon=True)
        leaving.start()
        leaving.join(_STOP_DEADLINE_S)
        while leaving.is_alive() and self.is_busy:
            leaving.join(_STOP_DEADLINE_S)

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
                _log.warning("the consumer ended by itself; it begins again", extra=REPEATS)

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

    def _wake(self, _job_id: str = "") -> None:
        """The Celery task: works until nothing is due. Whatever goes wrong is the sweeper's to mend, never Celery's.

        The message names some due job; SQL knows by now which one is next.
        """
        self._busy.set()
        try:
            while not self._place.stopping.is_set() and not self._place.pulse.takes_nothing:
                gone = why_gone(self._place.device)
                if gone:
                    self._drain_itself(device_lost(self._place.device, gone, "").message)
                    return
                attempted = run_next(self._place)
                if attempted is None:
                    return
                why = self._why_drain(attempted)
                if why:
                    self._drain_itself(why)
        except FarmError as error:
            _log.warning("the worker could not work: %s", error, extra=REPEATS)
        except Exception:  # noqa: BLE001 - a bug must not end the consumer
            _log.exception("a bug of the farm ended an attempt; the lease brings its job back")
        finally:
            self._busy.clear()

    def _why_drain(self, attempted: Attempted) -> str:
        if attempted.drain_reason:
            return attempted.drain_reason
        failure = attempted.failure
        if failure is not None and failure.code == DEVICE_LOST:
            return failure.message
        return self._streak.note(attempted.job_id, failure, succeeded=attempted.succeeded)

    def _drain_itself(self, why: str) -> None:
        _log.error(
            "this worker drains itself: %s. `farm worker resume %s` lets it go on",
            why,
            self._place.name,
            extra=fields("drained", reason=why),
        )
        self._place.pulse.drain_itself(why)
        try:
            self._place.pulse.note_drain(self._place.farm.database)
        except FarmError as error:
            _log.warning("that it drains will be noted once the database is there: %s", error, extra=REPEATS)

    def _look_at_key(self) -> None:
        """Drains the worker if nobody would be handed what it builds, because its key was revoked."""
        if self._place.pulse.takes_nothing:
            return
        try:
            check_signer(self._place.farm, self._place.signer)
        except ConflictError as error:
            self._drain_itself(error.message)
        except FarmError:
            # The database is away; the heartbeat says so.
            pass

    def _live(self) -> None:
        """Says that the worker lives, while no attempt does."""
        pulse = self._place.pulse
        look_at_key = time.monotonic() + KEY_GAP_S
        while not self._place.stopping.wait(_PULSE_GAP_S):
            if time.monotonic() >= look_at_key:
                look_at_key = time.monotonic() + KEY_GAP_S
                self._look_at_key()
            if not (pulse.is_due or pulse.has_unsaid):
                continue
            try:
                pulse.note_drain(self._place.farm.database)
                with self._place.farm.database.autocommit() as transaction:
                    pulse.beat(transaction)
            except FarmError as error:
                pulse.missed()
                _log.warning("the worker's heartbeat failed: %s", error, extra=REPEATS)
            except Exception:  # noqa: BLE001 - a bug must not end the pulse
                _log.exception("a bug of the farm in the worker's heartbeat; it goes on")
