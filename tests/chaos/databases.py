"""(d) PostgreSQL goes away, or throws its clients out."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

from tests.chaos.ordeal import Scenario

if TYPE_CHECKING:
    from tests.chaos.ordeal import Stage

_TERMINATE = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s"


def restarted(stage: Stage) -> None:
    """PostgreSQL is killed, or told to stop, and comes back."""
    fleet = stage.fleet
    fleet.worker()
    fleet.worker()
    fleet.client(stage.size, gap_s=1.0)
    fleet.wait_until_ready()
    for _ in range(2 if stage.size < 10 else 4):
        fleet.pause(0.5, 2.0)
        how = stage.rng.choice(("kill", "stop"))
        stage.postgres.kill() if how == "kill" else stage.postgres.stop()
        fleet.fault(f"{how} postgres")
        fleet.pause(0.2, 3.0)
        stage.postgres.start()


def sessions_terminated(stage: Stage) -> None:
    """For a while every session is ended again and again, in the middle of whatever it does."""
    fleet = stage.fleet
    name = fleet.settings.database_url.rsplit("/", 1)[1]
    fleet.worker()
    fleet.worker()
    fleet.client(stage.size)
    fleet.wait_until_ready()
    end = time.monotonic() + max(5.0, stage.size / 2)
    with psycopg.connect(stage.postgres.url.replace("+psycopg", ""), autocommit=True) as connection:
        while time.monotonic() < end:
            row = connection.execute(_TERMINATE, [name]).fetchone()
            for _ in range(row[0] if row else 0):
                fleet.fault("terminate a session")
            with suppress(psycopg.Error):
                fleet.pause(0.02, 0.6)


SCENARIOS = (
    Scenario("PostgreSQL killed and restarted", restarted),
    Scenario("sessions of PostgreSQL terminated", sessions_terminated),
)
