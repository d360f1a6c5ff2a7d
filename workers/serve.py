"""Serve devices until told to stop: one in this process, several in a process each."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from farm.domain.errors import UnsupportedTargetError
from farm.logs import configure_logging
from farm.settings import own_environment
from workers.agent import RunningWorker, offer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farm.bootstrap import Farm
    from farm.domain.targets import Device
    from workers.agent import Offer
    from workers.interpreters import Interpreter

_log = logging.getLogger(__name__)
#: A worker that dies at once is not started again in a tight loop.
_RESTART_GAP_S = 5.0
_STOP_DEADLINE_S = 20.0


def serve_devices(
    farm: Farm, devices: Sequence[Device], interpreters: Sequence[Interpreter], *, tell: Callable[[str], None]
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
    stop = _stop_signals()
    if len(offers) == 1:
        _serve_here(farm, offers[0], interpreters, stop, tell)
    else:
        _serve_apart(offers, interpreters, farm, stop, tell)
    tell("stopped")


def _serve_here(
    farm: Farm,
    offer: Offer,
    interpreters: Sequence[Interpreter],
    stop: threading.Event,
    tell: Callable[[str], None],
) -> None:
    with RunningWorker(farm, offer, interpreters) as worker:
        toolchains = ", ".join(str(description.id) for description in offer.descriptions)
        tell(
            f"worker {worker.id} serves {', '.join(worker.slugs.values())} with {toolchains}; Ctrl-C stops it"
        )
        stop.wait()
        if worker.is_busy:
            tell("stopping: the running job goes back to the queue")


def _serve_apart(
    offers: Sequence[Offer],
    interpreters: Sequence[Interpreter],
    farm: Farm,
    stop: threading.Event,
    tell: Callable[[str], None],
) -> None:
    """One process per device, started again when it dies: a crash of one leaves the others alone."""
    pythons = [word for i in interpreters[1:] for word in ("--toolchain-python", str(i.path))]

    def start(offer: Offer) -> subprocess.Popen[Any]:
        command = [sys.executable, "-m", "cli.main", "--home", str(farm.settings.home), "worker"]
        return subprocess.Popen([*command, "--device", offer.device.uuid, *pythons], env=own_environment())

    processes = {offer.device.uuid: start(offer) for offer in offers}
    by_uuid = {offer.device.uuid: offer for offer in offers}
    tell(f"{len(processes)} workers, one per device; Ctrl-C stops them")
    with ExitStack() as stack:
        stack.callback(_stop_all, processes)
        while not stop.wait(_RESTART_GAP_S if _any_dead(processes) else 0.5):
            for uuid, process in list(processes.items()):
                if process.poll() is not None:
                    _log.warning(
                        "the worker of %s ended with status %s; starting it again", uuid, process.returncode
                    )
                    processes[uuid] = start(by_uuid[uuid])


def _any_dead(processes: dict[str, subprocess.Popen[Any]]) -> bool:
    return any(process.poll() is not None for process in processes.values())


def _stop_all(processes: dict[str, subprocess.Popen[Any]]) -> None:
    for process in processes.values():
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    end = time.monotonic() + _STOP_DEADLINE_S
    for process in processes.values():
        try:
            process.wait(max(end - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _stop_signals() -> threading.Event:
    """An event that SIGTERM, SIGHUP and Ctrl-C set; a second one ends the process at once."""
    stop = threading.Event()

    def on_signal(number: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, on_signal)
    return stop
