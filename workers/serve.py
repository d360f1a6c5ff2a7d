"""Serve devices until told to stop: one in this process, several in a process each."""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.durations import duration_text
from farm.domain.errors import TransientError, UnsupportedTargetError
from farm.logs import configure_logging, log_context
from farm.settings import own_environment
from workers.agent import RunningWorker
from workers.cores import share_cores
from workers.device_lock import DeviceLock
from workers.device_processes import DeviceProcesses
from workers.offers import offer_of, worker_name
from workers.patience import patiently
from workers.screen import Screen
from workers.stopping import StopSignals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from farm.bootstrap import Farm
    from farm.domain.targets import Device
    from workers.interpreters import Interpreter
    from workers.offers import Offer

_log = logging.getLogger(__name__)
_POLL_S = 0.2


@dataclass(frozen=True)
class ServeOptions:
    """How to serve.

    Attributes:
        drain_s: how long what runs may go on after SIGTERM, before it is given back.
        name: of the worker, if it serves one device; made of host and device if empty.
        pythons: the interpreters that the operator named.
        listed_in: the file that lists more, if the operator named one.
        words: of the command line, for the processes of several devices.
    """

    drain_s: float = 0.0
    name: str = ""
    pythons: Sequence[Path] = ()
    listed_in: Path | None = None
    words: Sequence[str] = ()


def serve_devices(
    farm: Farm,
    devices: Sequence[Device],
    interpreters: Sequence[Interpreter],
    options: ServeOptions,
    *,
    tell: Callable[[str], None],
    show: Callable[[Screen], None],
) -> None:
    """Runs a worker per device until SIGTERM, SIGHUP or Ctrl-C.

    Args:
        farm: the open farm.
        devices: of this machine.
        interpreters: of this machine, the farm's own first.
        options: how to serve.
        tell: hears what happens.
        show: shows what a worker serves, once it does.

    Raises:
        UnsupportedTargetError: no toolchain here serves any of the devices.
        DeviceUnavailableError: a device can not be locked, because the folder of locks can not be used.
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
    for offer in offers:
        # Every job would fail of it, one after the other.
        DeviceLock(offer.device.uuid, folder=farm.settings.locks).check()
    stop = StopSignals().install()
    if len(offers) == 1:
        _serve_here(farm, offers[0], interpreters, options, stop, tell, show)
    else:
        _serve_apart(offers, farm, options, stop, tell)
    tell("stopped")


def _serve_here(
    farm: Farm,
    offer: Offer,
    interpreters: Sequence[Interpreter],
    options: ServeOptions,
    stop: StopSignals,
    tell: Callable[[str], None],
    show: Callable[[Screen], None],
) -> None:
    try:
        registered = patiently(
            lambda: RunningWorker(farm, offer, interpreters, name=options.name),
            tell=tell,
            wait=stop.asked.wait,
        )
    except TransientError:
        if stop.asked.is_set():
            return
        raise
    with registered as worker:
        stop.last_act = worker.clear_its_job
        show(Screen(worker, offer, interpreters, farm.settings, options.drain_s))
        stop.asked.wait()
        doing = worker.doing
        with log_context(job=doing.job_id, attempt=doing.number) if doing else nullcontext():
            if worker.is_busy and not stop.now.is_set() and options.drain_s:
                tell(
                    f"draining: the running job may take another {duration_text(options.drain_s)}; "
                    "Ctrl-C or a second SIGTERM gives it back now"
                )
            worker.drain(options.drain_s, stop.now)
            if worker.is_busy:
                tell("stopping: the running job goes back to the queue")


def _serve_apart(
    offers: Sequence[Offer],
    farm: Farm,
    options: ServeOptions,
    stop: StopSignals,
    tell: Callable[[str], None],
) -> None:
    pythons = [word for path in options.pythons for word in ("--toolchain-python", str(path.absolute()))]
    if options.listed_in is not None:
        pythons += ["--toolchains", str(options.listed_in.absolute())]
    base = [sys.executable, "-m", "cli.main", "--home", str(farm.settings.home), "worker", "--of-a-host"]
    cores = share_cores([offer.device for offer in offers])
    commands = {
        offer.device.uuid: [
            *base, *(("--cores", ",".join(map(str, cores[offer.device.uuid]))) if offer.device.uuid in cores else ()),
            "--device", offer.device.uuid, "--drain-timeout", f"{max(round(options.drain_s), 0)}",
            "--name", worker_name(offer.device, options.name),
            *pythons, *options.words,
        ]
        for offer in offers
    }  # fmt: skip
    tell(f"{len(commands)} workers, one per device; Ctrl-C stops them all")
    DeviceProcesses(commands, own_environment(), options.drain_s).run(stop)


def end_with_parent() -> None:
    """Has this process stop as at Ctrl-C when whoever started it is gone, and its standard input ends."""
    threading.Thread(target=_await_the_end_of_the_parent, name="parent", daemon=True).start()


def _await_the_end_of_the_parent() -> None:
    poll = select.poll()
    poll.register(0, select.POLLHUP)
    while not poll.poll(1000):
        pass
    os.kill(os.getpid(), signal.SIGINT)
