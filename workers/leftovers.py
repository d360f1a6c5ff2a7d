"""What dead workers of this host left: their jobs, their logs, their scratch folders."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from farm.domain.errors import FarmError
from farm.domain.jobs import JobState
from farm.log_repeats import REPEATS
from farm.logs import log_context
from farm.services.dead_workers import bury_dead, keep_lost_logs
from workers.confinement import remove_folder
from workers.life_sign import clear_old, dead_workers, forget

if TYPE_CHECKING:
    import threading

    from farm.bootstrap import Farm

_log = logging.getLogger(__name__)
#: How often it is looked for dead workers; well below a lease, whose end would call them silent.
_LOOK_GAP_S = 3.0


class DeadWatch:
    """Takes the jobs of dead workers of this host from them, without waiting for the ends of their leases.

    It asks the database only when somebody has died.

    Args:
        farm: the open farm.
        host: this one, as attempts record it.
    """

    def __init__(self, farm: Farm, host: str) -> None:
        self._farm = farm
        self._host = host
        # Those of another farm stay where they are, for its workers; they are asked for once.
        self._seen: set[str] = set()

    def look(self) -> None:
        """Ends the attempts of those who died since the last time, and keeps their logs.

        Raises:
            DatabaseUnavailableError: nobody can say what was running.
        """
        farm, locks = self._farm, self._farm.settings.locks
        dead = {who: how for who, how in dead_workers(locks).items() if who not in self._seen}
        if not dead:
            return
        buried = bury_dead(farm.database, self._host, dead.get)
        # Those that ran nothing, too: nobody is to count on them.
        with farm.database.transaction() as transaction:
            transaction.fleet.die(dead, self._host)
        self._seen |= set(dead)
        for job, state in buried:
            with log_context(job=job.id, attempt=job.attempts):
                _log.warning(
                    "job %s was taken from worker %s, which is dead; now %s",
                    job.id,
                    job.worker_id,
                    state.value,
                )
            keep_lost_logs(farm.database, farm.store, job.id)
            forget(locks, job.worker_id)
        clear_old(locks)

    def run(self, stopping: threading.Event) -> None:
        """Looks now and then until told to stop, whatever goes wrong."""
        while not stopping.wait(_LOOK_GAP_S):
            try:
                self.look()
            except FarmError as error:
                _log.warning("whose workers died could not be looked up: %s", error, extra=REPEATS)
            except Exception:  # noqa: BLE001 - a bug must not end the watch
                _log.exception("a bug of the farm in the watch for dead workers; it goes on")


def sweep_scratch(farm: Farm) -> None:
    """Removes what attempts of killed workers left; what a running attempt of this host uses stays.

    Raises:
        DatabaseUnavailableError: nobody can say what is running.
    """
    folders = list(farm.settings.scratch.glob("j-*.*"))
    if not folders:
        return
    with farm.database.reading() as transaction:
        jobs = transaction.jobs.get_all([folder.name.partition(".")[0] for folder in folders])
    running = {f"{job.id}.{job.attempts}" for job in jobs.values() if job.state is JobState.RUNNING}
    for folder in folders:
        if folder.name not in running:
            remove_folder(folder)
