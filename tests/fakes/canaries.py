"""The in-memory stand-in for `Canaries`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from farm.domain.canaries import Suspicion

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from farm.domain.canaries import Canary, Verdict
    from farm.domain.targets import DeviceType, ToolchainId
    from tests.fakes.tables import Tables


class InMemoryCanaries:
    """Implements `Canaries`."""

    def __init__(self, tables: Tables, now: Callable[[], datetime]) -> None:
        self._tables = tables
        self._now = now

    def add(self, canary: Canary) -> Canary:
        """Files it now."""
        assert canary.device_uuid in self._tables.devices
        assert canary.toolchain in self._tables.toolchains
        self._tables.artifacts.setdefault(canary.engine.sha256, canary.engine)
        filed = replace(canary, id=len(self._tables.canaries) + 1, measured_at=self._now())
        self._tables.canaries.append(filed)
        return filed

    def of_device(self, device_uuid: str, limit: int = 200) -> list[Canary]:
        """Oldest first."""
        return [one for one in self._tables.canaries if one.device_uuid == device_uuid][-limit:]

    def newest(self, device_uuid: str, device_type: DeviceType, toolchain: ToolchainId) -> Canary | None:
        """Its own, else one of its type."""
        found = [
            one
            for one in self._tables.canaries
            if one.toolchain == toolchain and self._tables.devices[one.device_uuid].device_type == device_type
        ]
        return max(found, key=lambda one: (one.device_uuid == device_uuid, one.id), default=None)

    def accept(self, canary_id: int, verdict: Verdict, reason: str) -> None:
        """Gives it another verdict."""
        place = canary_id - 1
        self._tables.canaries[place] = replace(self._tables.canaries[place], verdict=verdict, reason=reason)

    def suspects(self) -> dict[str, Suspicion]:
        """By UUID."""
        return dict(self._tables.suspects)

    def suspect(self, device_uuid: str, reason: str) -> None:
        """Marks it once."""
        self._tables.suspects.setdefault(device_uuid, Suspicion(self._now(), reason))

    def trust(self, device_uuid: str) -> bool:
        """Takes the mark off."""
        return self._tables.suspects.pop(device_uuid, None) is not None

    def flag_runs(self, device_uuid: str, since: datetime, reason: str) -> int:
        """Marks what it has measured since then."""
        count = 0
        for number, engine in self._tables.engines.items():
            doubted = {
                run.id
                for run in engine.runs
                if run.device_uuid == device_uuid and run.started_at > since and not run.suspect
            }
            runs = tuple(replace(run, suspect=reason) if run.id in doubted else run for run in engine.runs)
            self._tables.engines[number] = replace(engine, runs=runs)
            count += len(doubted)
        return count
