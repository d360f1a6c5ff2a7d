"""A worker leaves when it is told to, whatever its Celery waits for."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fake_toolchain.harness import farm_of_test, wait_until
from workers import consumer
from workers.interpreters import probe_interpreter

if TYPE_CHECKING:
    import pytest


def test_a_celery_that_waits_for_its_broker_does_not_keep_a_worker_that_has_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "_STOP_DEADLINE_S", 0.1)
    answered = threading.Event()
    own = probe_interpreter(Path(sys.executable), tmp_path)
    with farm_of_test(tmp_path, own) as place:
        with place.worker() as worker:
            inner = worker._consumer
            wait_until(lambda: inner._can_be_stopped)
            celery = inner._controller
            with monkeypatch.context() as patch:
                patch.setattr(celery, "stop", answered.wait)
                # Would wait for ever if it waited for Celery.
                inner.stop()
            answered.set()
        with place.farm.database.reading() as transaction:
            assert not any(known.is_live for known in transaction.fleet.workers())
