"""The farm's records of who works: workers, what they say of themselves, and drains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from farm.domain.targets import Device, DeviceType, Target, ToolchainId
    from farm.domain.toolchains import ToolchainDescription

#: A worker whose last heartbeat is older is taken for dead: six heartbeats of an idle one.
WORKER_SILENCE_S = 30
#: Why a worker takes nothing new that nobody has drained.
LEAVING = "it was told to stop"


@dataclass(frozen=True)
class Worker:
    """A process that serves one device."""

    id: str
    host: str
    pid: int
    device: Device
    toolchains: tuple[ToolchainId, ...]
    targets: tuple[Target, ...]
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None
    is_live: bool
    current_job: str = ""
    name: str = ""
    drain_reason: str = ""

    @property
    def takes_work(self) -> bool:
        """Whether it lives, and takes what is new."""
        return self.is_live and not self.drain_reason


@dataclass(frozen=True)
class Drain:
    """That the workers of a name are to take nothing new, whether one runs or not.

    Attributes:
        name: of the workers.
        reason: for people.
        requested_by: a user, or the worker itself.
        since: when it was said first.
    """

    name: str
    reason: str
    requested_by: str
    since: datetime


@dataclass(frozen=True)
class WorkerRegistration:
    """What a worker says of itself when it starts."""

    id: str
    host: str
    pid: int
    device: Device
    toolchains: tuple[ToolchainDescription, ...]
    device_types: tuple[DeviceType, ...]
    version: str = ""
    name: str = ""

    @property
    def targets(self) -> tuple[tuple[DeviceType, ToolchainDescription], ...]:
        """Every pair that it serves."""
        return tuple(
            (device_type, toolchain)
            for device_type in self.device_types
            for toolchain in self.toolchains
            if toolchain.can_serve(device_type)
        )
