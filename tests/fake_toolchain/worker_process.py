# ruff: noqa: T201 - a program that prints its state
"""`python -m tests.fake_toolchain.worker_process DOCUMENT`: a worker of a test's farm, until SIGTERM."""

from __future__ import annotations

import json
import logging
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from farm.bootstrap import open_farm
from farm.domain.targets import Device
from farm.settings import Settings
from tests.fake_toolchain.harness import CPU
from tests.fake_toolchain.toolchain import DESCRIPTION
from workers.agent import RunningWorker
from workers.interpreters import Interpreter, probe_interpreter
from workers.offers import offer_of


def _settings(values: dict[str, Any]) -> Settings:
    names = ("home", "store", "scratch", "locks", "signing_key", "trusted_keys", "toolchains")
    folders = {name: Path(values[name]) for name in names if values[name]}
    return Settings(**{**values, **folders})


def main(document: dict[str, Any]) -> None:
    """Serves until it is told to stop, then says how much memory it took."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    farm = open_farm(_settings(document["settings"]))
    device = Device(document["device"], CPU, 0, 4096, "", farm.settings.host)
    options = document["options"]
    control = Path(document["fake"])
    fake = Interpreter(control / "python", "3.11", (DESCRIPTION,), {})
    own = probe_interpreter(Path(sys.executable), farm.settings.scratch)
    interpreters = (own, fake)
    with RunningWorker(farm, offer_of(device, interpreters), interpreters, **options):
        print("ready", flush=True)
        stop.wait()
    status = Path("/proc/self/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    print(f"peak {int(peak[1]) if peak else 0} KiB", flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
