"""The in-memory stand-in for `FleetCatalog`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from farm.domain.fleet import LEAVING, WORKER_SILENCE_S, Drain, Worker
from farm.domain.jobs import JobState
from farm.domain.targets import Target
from tests.fakes.tables import Tables, WorkerRow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from farm.domain.fleet import WorkerRegistration
    from farm.domain.targets import Device, DeviceType, ToolchainId
    from farm.domain.toolchains import ToolchainDescription


class InMemoryFleetCatalog:
    """Implements `FleetCatalog`."""

    def __init__(self, tables: Tables, now: Callable[[], datetime]) -> None:
        self._tables = tables
        self._now = now

    def register(self, registration: WorkerRegistration) -> dict[DeviceType, str]:
        """Files a worker; the slug of each of its device types."""
        self.describe(registration.device_types, registration.toolchains)
        self._slug(registration.device.device_type)
        self._tables.devices[registration.device.uuid] = registration.device
        self._tables.workers[registration.id] = WorkerRow(registration, self._now(), self._now())
        return {device_type: self._slug(device_type) for device_type in registration.device_types}

    def describe(
        self, device_types: Sequence[DeviceType], toolchains: Sequence[ToolchainDescription]
    ) -> None:
        """Files what a machine could serve."""
        for toolchain in toolchains:
            self._tables.toolchains[toolchain.id] = toolchain
        for device_type in device_types:
            self._slug(device_type)
            self._tables.targets |= {(device_type, t.id) for t in toolchains if t.can_serve(device_type)}

    def beat(self, worker_id: str) -> str:
        """Notes that a worker lives; why it is to take nothing new."""
        if worker_id not in self._tables.workers:
            return ""
        row = self._tables.workers[worker_id]
        row.heartbeat_at, row.stopped_at, row.is_dead = self._now(), None, False
        drain = self._tables.drains.get(row.registration.name)
        return drain.reason if drain else ""

    def drain(self, name: str, reason: str, requested_by: str) -> None:
        """Tells the workers of a name to take nothing new."""
        self._tables.drains.setdefault(name, Drain(name, reason, requested_by, self._now()))

    def resume(self, name: str) -> bool:
        """Lets them take jobs again."""
        return self._tables.drains.pop(name, None) is not None

    def hold_duty(self, duty: str, holder: str, lease_s: float) -> bool:
        """Takes a duty, or keeps it."""
        now = self._now()
        had, until = self._tables.duties.get(duty, (holder, now))
        if had != holder and until >= now:
            return False
        self._tables.duties[duty] = (holder, now + timedelta(seconds=lease_s))
        return True

    def leave_duties(self, holder: str) -> None:
        """Gives up every duty."""
        for duty in [duty for duty, (had, _) in self._tables.duties.items() if had == holder]:
            del self._tables.duties[duty]

    def drains(self) -> list[Drain]:
        """By name."""
        return sorted(self._tables.drains.values(), key=lambda drain: drain.name)

    def leave(self, worker_id: str) -> None:
        """Notes that a worker finishes what it does and then stops."""
        self._tables.workers[worker_id].is_leaving = True

    def die(self, worker_ids: Collection[str], host: str) -> int:
        """Notes that workers of a host are dead."""
        rows = [self._tables.workers[id_] for id_ in worker_ids if id_ in self._tables.workers]
        news = [r for r in rows if r.registration.host == host and r.stopped_at is None and not r.is_dead]
        for row in news:
            row.is_dead = True
        return len(news)

    def stop(self, worker_id: str) -> None:
        """Notes that a worker has left."""
        if worker_id in self._tables.workers:
            self._tables.workers[worker_id].stopped_at = self._now()

    def workers(self) -> list[Worker]:
        """The live ones first."""
        found = [self._worker(row) for row in self._tables.workers.values()]
        return sorted(found, key=lambda worker: not worker.is_live)

    def device_types(self) -> dict[str, DeviceType]:
        """By slug."""
        return dict(sorted(self._tables.slugs.items(), key=lambda item: (item[1].kind.value, item[0])))

    def devices(self) -> list[Device]:
        """By host and index."""
        return sorted(self._tables.devices.values(), key=lambda device: (device.host, device.index))

    def toolchains(self) -> list[ToolchainDescription]:
        """By name."""
        return sorted(self._tables.toolchains.values(), key=lambda toolchain: toolchain.id.name)

    def known_targets(self) -> set[tuple[DeviceType, ToolchainId]]:
        """Every pair that some machine has been able to serve."""
        return set(self._tables.targets)

    def _slug(self, device_type: DeviceType) -> str:
        for slug, known in self._tables.slugs.items():
            if known == device_type:
                return slug
        slug = device_type.distinct_slug if device_type.slug in self._tables.slugs else device_type.slug
        self._tables.slugs[slug] = device_type
        return slug

    def _worker(self, row: WorkerRow) -> Worker:
        registration = row.registration
        targets = tuple(Target(device_type, toolchain.id) for device_type, toolchain in registration.targets)
        silence = self._now() - row.heartbeat_at
        is_live = row.stopped_at is None and not row.is_dead and silence < timedelta(seconds=WORKER_SILENCE_S)
        drain = self._tables.drains.get(registration.name)
        running = [
            row.job.id
            for row in self._tables.jobs.values()
            if row.job.state is JobState.RUNNING and row.job.worker_id == registration.id
        ]
        return Worker(
            id=registration.id,
            host=registration.host,
            pid=registration.pid,
            device=self._tables.devices[registration.device.uuid],
            toolchains=tuple(sorted({target.toolchain for target in targets})),
            targets=targets,
            started_at=row.started_at,
            heartbeat_at=row.heartbeat_at,
            stopped_at=row.stopped_at,
            is_live=is_live,
            current_job=running[-1] if running and is_live else "",
            name=registration.name,
            drain_reason=drain.reason if drain else LEAVING if row.is_leaving else "",
        )
