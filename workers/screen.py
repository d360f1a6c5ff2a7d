"""What a worker serves, in one screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm.domain.baselines import ONLY_BASELINES
from farm.domain.durations import duration_text
from farm.domain.targets import DeviceKind
from farm.storage.database import hide_password

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.settings import Settings
    from workers.agent import RunningWorker
    from workers.interpreters import Interpreter
    from workers.offers import Offer


@dataclass(frozen=True)
class Screen:
    """What a worker says of itself once it serves.

    Attributes:
        worker: that runs.
        offer: what it serves.
        interpreters: of the machine.
        settings: where its farm is.
        drain_s: how long it may finish its job after SIGTERM.
    """

    worker: RunningWorker
    offer: Offer
    interpreters: Sequence[Interpreter]
    settings: Settings
    drain_s: float

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        device = self.offer.device
        names = {interpreter.path: interpreter.name for interpreter in reversed(self.interpreters)}
        return {
            "worker": self.worker.id,
            "name": self.worker.name,
            "device": {"uuid": device.uuid, "index": device.index, "driver": device.driver_version or None}
            | device.device_type.as_json(),
            "serves": list(self.worker.slugs.values()),
            "toolchains": [
                {
                    "toolchain": str(description.id),
                    "variant": description.id.variant or None,
                    "python": str(self.offer.toolchains[description.id]),
                    "name": names.get(self.offer.toolchains[description.id]) or None,
                    "environment": sorted(self.offer.environments.get(description.id, {})),
                }
                for description in self.offer.descriptions
            ],
            "database": hide_password(self.settings.database_url),
            "broker": hide_password(self.settings.broker_url),
            "store": str(self.settings.store),
            "queues": self.worker.queues,
            "lease_s": self.settings.lease_s,
            "drain_s": self.drain_s,
            "drain_reason": self.worker.drain_reason or None,
            "missing": [
                {"toolchain": name, "python": str(interpreter.path), "why": why}
                for interpreter in self.interpreters
                for name, why in interpreter.missing.items()
                # Nobody misses what engines are only compared with.
                if name
                not in {*ONLY_BASELINES, *(description.id.name for description in self.offer.descriptions)}
            ],
        }

    def lines(self) -> list[str]:
        """For people; the first line says the most."""
        said, device = self.as_json(), self.offer.device
        toolchains = ", ".join(found["toolchain"] for found in said["toolchains"])
        head = f"worker {self.worker.id} ({self.worker.name}) serves {', '.join(said['serves'])} with {toolchains}; Ctrl-C stops it"
        index = f"index {device.index}" if device.device_type.kind is DeviceKind.GPU else ""
        driver = f"driver {device.driver_version}" if device.driver_version else ""
        memory = f"{device.memory_mib / 1024:.0f} GiB"
        facts = [device.device_type.product_name, device.uuid, index, memory, driver]
        rows = [("device", " · ".join(filter(None, facts)))]
        rows += [("toolchain", _toolchain(found)) for found in said["toolchains"]]
        rows += [
            ("database", said["database"]),
            ("broker", "in this process" if self.settings.is_embedded else said["broker"]),
            ("store", said["store"]),
            ("queues", "\n".join(said["queues"])),
            ("lease", f"{self.settings.lease_s:g} s"),
            ("drain", duration_text(self.drain_s) if self.drain_s else "none: a job is given back at once"),
        ]
        rows += [("missing", f"{m['toolchain']} in {m['python']}: {m['why']}") for m in said["missing"]]
        if self.worker.drain_reason:
            resume = f"`farm worker resume {self.worker.name}` lets it take jobs"
            rows.append(("drained", f"{self.worker.drain_reason}; {resume}"))
        return [head, *(f"    {label:<10} {line}" for label, line in _aligned(rows))]


def _toolchain(found: dict[str, Any]) -> str:
    variant = f" ({found['variant']})" if found["variant"] else ""
    name = f" ({found['name']})" if found["name"] else ""
    more = f" with {', '.join(found['environment'])}" if found["environment"] else ""
    return f"{found['toolchain']}{variant} in {found['python']}{name}{more}"


def _aligned(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """A row for every line, with the label before the first one of each kind only."""
    found: list[tuple[str, str]] = []
    last = ""
    for label, text in rows:
        for line in text.split("\n"):
            found.append(("" if label == last else label, line))
            last = label
    return found
