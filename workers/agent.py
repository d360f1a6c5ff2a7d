"""A worker that is registered and takes jobs."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Self

from farm import __version__
from farm.bootstrap import open_signer
from farm.domain.errors import FarmError
from farm.domain.fleet import WorkerRegistration
from farm.domain.identifiers import new_id
from farm.domain.targets import Target
from farm.logs import name_worker
from workers.consumer import Consumer
from workers.interpreters import code_folder
from workers.leftovers import DeadWatch
from workers.life_sign import LifeSign
from workers.offers import Offer, worker_name
from workers.pulse import Pulse
from workers.workplace import Workplace

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from farm.bootstrap import Farm
    from farm.domain.work import Attempt
    from workers.interpreters import Interpreter

_log = logging.getLogger(__name__)
_DRAIN_POLL_S = 0.1
REFERENCE_TOOLCHAIN = "onnxruntime"


class RunningWorker:
    """A registered worker with its consumer running; a context manager.

    Args:
        farm: the open farm.
        offer: what it serves.
        interpreters: of the machine, the farm's own first.
        name: by which it is drained and resumed, the same after a restart; made of host and device if none.
    """

    def __init__(
        self,
        farm: Farm,
        offer: Offer,
        interpreters: Sequence[Interpreter],
        *,
        name: str = "",
    ) -> None:
        self._farm = farm
        self.id = new_id("w")
        name_worker(self.id)
        self.stopping = threading.Event()
        # Before anything is registered: a worker without a key has nothing to offer.
        signer = open_signer(farm)
        own = interpreters[0]
        reference = next((t.id for t in own.toolchains if t.id.name == REFERENCE_TOOLCHAIN), None)
        self.name = name or worker_name(offer.device)
        self._pulse = Pulse(self.id, self.name)
        place = Workplace(
            farm=farm,
            worker_id=self.id,
            name=self.name,
            device=offer.device,
            interpreters=offer.toolchains,
            environments=offer.environments,
            reference_python=own.path,
            reference_toolchain=str(reference) if reference else "",
            code=code_folder(farm.settings.scratch),
            stopping=self.stopping,
            pulse=self._pulse,
            signer=signer,
        )
        registration = WorkerRegistration(
            id=self.id,
            name=self.name,
            host=farm.settings.host,
            pid=os.getpid(),
            device=offer.device,
            toolchains=offer.descriptions,
            device_types=offer.device_types,
            version=__version__,
        )
        # Before anybody knows of this worker, so that it is never taken for a dead one.
        self._life_sign = LifeSign(farm.settings.locks, self.id).give()
        try:
            with farm.database.transaction() as transaction:
                self.slugs = transaction.fleet.register(registration)
                # It may have been drained before it was started.
                self._pulse.beat(transaction)
        except BaseException:
            # Whoever tries again makes another worker.
            self._life_sign.withdraw()
            raise
        self._dead_watch = DeadWatch(farm, offer.device.host)
        targets = [Target(type_, toolchain.id) for type_, toolchain in registration.targets]
        self.queues = sorted(target.queue for target in targets)
        self._consumer = Consumer(place, targets)

    @property
    def is_busy(self) -> bool:
        """Whether an attempt is running."""
        return self._consumer.is_busy

    @property
    def doing(self) -> Attempt | None:
        """The attempt that runs, if one does."""
        return self._pulse.doing

    @property
    def drain_reason(self) -> str:
        """Why it is to take nothing new; an empty text if it is not."""
        return self._pulse.drain_reason

    def drain(self, seconds: float, now: threading.Event) -> None:
        """Takes nothing new, and waits for what runs; no longer than so many seconds, or until `now` is set."""
        # The pulse's own thread tells everybody: a database that hangs must not hold this one up.
        self._pulse.leave()
        end = time.monotonic() + seconds
        while self.is_busy and time.monotonic() < end and not now.wait(_DRAIN_POLL_S):
            pass

    def clear_its_job(self) -> None:
        """Has nobody blame the job for the end of this process, which somebody wants now; its lease ends by itself."""
        self._life_sign.withdraw()

    def __enter__(self) -> Self:
        """Begins to take jobs; first those of dead workers of this host are taken from them."""
        try:
            self._dead_watch.look()
        except FarmError as error:
            _log.warning("whose workers died will be looked up later: %s", error)
        threading.Thread(
            target=self._dead_watch.run, args=(self.stopping,), name="dead-watch", daemon=True
        ).start()
        self._consumer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives a running job back and leaves."""
        self._consumer.stop()
        self._life_sign.withdraw()
