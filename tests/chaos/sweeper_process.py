# ruff: noqa: T201 - a program that prints its state
"""`python -m tests.chaos.sweeper_process DOCUMENT`: what `farm sweep` runs, with the settings of a document."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from typing import Any

from farm.bootstrap import open_farm
from farm.domain.identifiers import new_id
from tests.chaos.documents import settings_from
from workers.queues import CeleryQueue, new_celery_app
from workers.sweeper import Sweeper


def main(document: dict[str, Any]) -> None:
    """Sweeps until SIGTERM."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = settings_from(document["settings"])
    farm = open_farm(settings)
    queue = CeleryQueue(new_celery_app(settings), settings.broker_url)
    print("ready", flush=True)
    Sweeper(farm, queue, new_id("sweeper")).run(stop)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
