"""Device types, devices, toolchains and workers, as the services need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from farm.domain.fleet import Drain, Worker, WorkerRegistration
    from farm.domain.targets import Device, DeviceType, ToolchainId
    from farm.domain.toolchains import ToolchainDescription


class FleetCatalog(Protocol):
    """Device types, devices, toolchains and workers."""

    def register(self, registration: WorkerRegistration) -> dict[DeviceType, str]:
        """Files a worker with its device, toolchains and targets; the slug of each device type."""

    def describe(
        self, device_types: Sequence[DeviceType], toolchains: Sequence[ToolchainDescription]
    ) -> None:
        """Files what a machine could serve, with no worker behind it yet."""

    def beat(self, worker_id: str) -> str:
        """Notes that a worker lives; why it is to take nothing new, or an empty text."""

    def drain(self, name: str, reason: str, requested_by: str) -> None:
        """Tells the workers of a name to finish what they do and take nothing new, until `resume`."""

    def resume(self, name: str) -> bool:
        """Lets the workers of a name take jobs again; false if they were not drained."""

    def hold_duty(self, duty: str, holder: str, lease_s: float) -> bool:
        """Takes a duty that one process does for all, or keeps it; false while somebody else has it."""

    def leave_duties(self, holder: str) -> None:
        """Gives up every duty, so that somebody else takes it at once."""

    def drains(self) -> list[Drain]:
        """Every standing drain, by name."""

    def leave(self, worker_id: str) -> None:
        """Notes that a worker finishes what it does and then stops."""

    def die(self, worker_ids: Collection[str], host: str) -> int:
        """Notes that workers of a host are dead; how many of them nobody had known to be."""

    def stop(self, worker_id: str) -> None:
        """Notes that a worker has left."""

    def workers(self) -> list[Worker]:
        """Every worker, the live ones first."""

    def device_types(self) -> dict[str, DeviceType]:
        """Every device type ever seen, by slug."""

    def devices(self) -> list[Device]:
        """Every device ever seen."""

    def toolchains(self) -> list[ToolchainDescription]:
        """Every toolchain ever seen."""

    def known_targets(self) -> set[tuple[DeviceType, ToolchainId]]:
        """Every pair that some worker has served or could serve."""
