"""Serve devices until told to stop: one in this process, several in a process each."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.durations import duration_text
from farm.domain.errors import UnsupportedTargetError
from farm.logs import configure_logging
from farm.settings import own_environment
from workers.agent import RunningWorker, offer_of, worker_name
from workers.device_processes import DeviceProcesses
from workers.stopping import StopSignals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farm.bootstrap import Farm
    from farm.domain.targets import Device
    from workers.agent import Offer
    from workers.interpreters import Interpreter

_log = logging.getLogger(__name__)
_POLL_S = 0.2


@dataclass(frozen=True)
class ServeOptions:
    """How to serve.

    Attributes:
        drain_s: how long what runs may go on after SIGTERM, before it is given back.
        name: of the worker, if it serves one device; made of host and device if empty.
        ends_with_parent: whether it stops when its standard input ends: it was started by one that serves
            several devices.
    """

    drain_s: float = 0.0
    name: str = ""
    ends_with_parent: bool = False


def serve_devices(
    farm: Farm,
    devices: Sequence[Device],
    interpreters: Sequence[Interpreter],
    options: ServeOptions,
    *,
    tell: Callable[[str], None],
) -> None:
    """Runs a worker per device until SIGTERM, SIGHUP or Ctrl-C.

    Raises:
        UnsupportedTargetError: no toolchain here serves any of the devices.
    """
    configure_logging(farm.settings)
    offers, reasons = [], []
    for device in devices:
        try:
            offers.append(offer_of(device, interpreters))
        except UnsupportedTargetError as error:
            reasons.append(error)
            tell(f"{device.device_type.slug}: {error.message}")
    if not offers:
        raise reasons[0]
    stop = StopSignals().install()
    if options.ends_with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    if len(offers) == 1:
        _serve_here(farm, offers[0], interpreters, options, stop, tell)
    else:
        _serve_apart(offers, interpreters, farm, options, stop, tell)
    tell("stopped")


def _serve_here(
    farm: Farm,
    offer: Offer,
    interpreters: Sequence[Interpreter],
    options: ServeOptions,
    stop: StopSignals,
    tell: Callable[[str], None],
) -> None:
    with RunningWorker(farm, offer, interpreters, name=options.name) as worker:
        for line in _screen(worker, offer):
            tell(line)
        stop.asked.wait()
        if worker.is_busy and not stop.now.is_set() and options.drain_s:
            tell(
                f"draining: the running job may take another {duration_text(options.drain_s)}; "
                "Ctrl-C or a second SIGTERM gives it back now"
            )
        worker.drain(options.drain_s, stop.now)
        if worker.is_busy:
            tell("stopping: the running job goes back to the queue")


def _screen(worker: RunningWorker, offer: Offer) -> list[str]:
    """What it serves, in one screen."""
    toolchains = ", ".join(str(description.id) for description in offer.descriptions)
    head = f"worker {worker.id} ({worker.name}) serves {', '.join(worker.slugs.values())} with {toolchains}; Ctrl-C stops it"
    return [
        head,
        *(f"    {description.id}: {offer.toolchains[description.id]}" for description in offer.descriptions),
    ]


def _serve_apart(
    offers: Sequence[Offer],
    interpreters: Sequence[Interpreter],
    farm: Farm,
    options: ServeOptions,
    stop: StopSignals,
    tell: Callable[[str], None],
) -> None:
    pythons = [word for i in interpreters[1:] for word in ("--toolchain-python", str(i.path))]
    base = [sys.executable, "-m", "cli.main", "--home", str(farm.settings.home), "worker", "--of-a-host"]
    commands = {
        offer.device.uuid: [
            *base, "--device", offer.device.uuid, "--drain-timeout", f"{max(round(options.drain_s), 0)}",
            "--name", f"{options.name or offer.device.host}{worker_name(offer.device)[len(offer.device.host):]}",
            *pythons,
        ]
        for offer in offers
    }  # fmt: skip
    tell(f"{len(commands)} workers, one per device; Ctrl-C stops them")
    DeviceProcesses(commands, own_environment(), options.drain_s).run(stop)


def _end_with_parent() -> None:
    """Stops this process as SIGINT would when whoever started it is gone."""
    poll = select.poll()
    poll.register(0, select.POLLHUP)
    while not poll.poll(1000):
        pass
    os.kill(os.getpid(), signal.SIGINT)
