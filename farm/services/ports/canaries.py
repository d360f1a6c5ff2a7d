"""Canaries and what they say of devices, as the services need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from farm.domain.canaries import Canary, Suspicion, Verdict
    from farm.domain.targets import DeviceType, ToolchainId


class Canaries(Protocol):
    """The canaries of devices, and the devices that are not trusted."""

    def add(self, canary: Canary) -> Canary:
        """Files a canary of a device that is registered, now; as it is filed."""

    def of_device(self, device_uuid: str, limit: int = 200) -> list[Canary]:
        """The newest canaries of a device, oldest first."""

    def newest(self, device_uuid: str, device_type: DeviceType, toolchain: ToolchainId) -> Canary | None:
        """The newest canary of a device by a toolchain, else the newest of its type: whose engine to time next."""

    def accept(self, canary_id: int, verdict: Verdict, reason: str) -> None:
        """Gives a canary another verdict: only the operator may."""

    def suspects(self) -> dict[str, Suspicion]:
        """The devices that are not trusted, by UUID."""

    def suspect(self, device_uuid: str, reason: str) -> None:
        """Marks a device; one that is marked stays as it is."""

    def trust(self, device_uuid: str) -> bool:
        """Takes the mark off a device; false if there was none."""

    def flag_runs(self, device_uuid: str, since: datetime, reason: str) -> int:
        """Marks the runs that a device has measured since then; how many were not marked before."""
