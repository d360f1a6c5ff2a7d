"""The servers and processes of benchmarks/scale.py; all of them end with it."""

from __future__ import annotations

import json
import selectors
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from redis import Redis

from benchmarks.simulated_worker import settings_for
from farm.domain.work import JobRequest
from farm.services.plan import Plan, PlannedCell
from farm.services.submit import SubmitOrder, submit_plan
from farm.storage.database import SqlDatabase
from farm.storage.schema import upgrade
from tests.factories import a_build_spec, a_model, a_worker
from tests.services import PostgresServer, RedisServer
from workers.queues import CeleryQueue, new_celery_app

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

ROOT = Path(__file__).parents[1]
#: Cells of a submission, at most.
CELLS = 1000


class DurablePostgres(PostgresServer):
    """As in production: what was acknowledged survives a power cut."""

    def _command(self) -> list[str]:
        settings = {
            "fsync": "on",
            "full_page_writes": "on",
            "autovacuum": "on",
            "shared_buffers": "512MB",
            "max_connections": "300",
        }
        return [
            *super()._command(),
            *[word for name, value in settings.items() for word in ("-c", f"{name}={value}")],
        ]


class Simulation:
    """One process of simulated workers, which ends when nobody speaks to it any more."""

    def __init__(self, ask: dict[str, Any]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.simulated_worker", json.dumps(ask)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def await_ready(self) -> None:
        """Returns when it listens."""
        assert self._answer(120) == "ready"

    def tell(self, word: str) -> None:
        """Has it `work` or `rest`."""
        assert self._process.stdin is not None
        print(word, file=self._process.stdin, flush=True)

    def report(self) -> dict[str, Any]:
        """What it measured since it was told to work."""
        self.tell("report")
        report: dict[str, Any] = json.loads(self._answer(60))
        return report

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def kill(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()

    def _answer(self, within_s: float) -> str:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(within_s):
                raise TimeoutError(f"a process of simulated workers said nothing for {within_s:.0f} s")
        return self._process.stdout.readline().strip()


class Fleet:
    """A PostgreSQL and a Redis of its own, empty farms on them, and processes of simulated workers."""

    def __enter__(self) -> Self:
        """Starts the servers."""
        self.folder = tempfile.TemporaryDirectory()
        self.postgres, self.redis = DurablePostgres(), RedisServer()
        self._simulations: list[Simulation] = []
        try:
            self.postgres.start()
            self.redis.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends everything."""
        self.dismiss()
        self.redis.close()
        self.postgres.close()
        self.folder.cleanup()

    def new_farm(self) -> Farm:
        """An empty database with a target, and an empty broker."""
        return Farm(self.postgres.createdb(), self.redis.url, Path(self.folder.name))

    def start(self, asks: list[dict[str, Any]]) -> list[Simulation]:
        """Processes of simulated workers that are ready."""
        started = [Simulation(ask) for ask in asks]
        self._simulations += started
        for simulation in started:
            simulation.await_ready()
        return started

    def cpu_s(self) -> dict[str, float]:
        """Seconds of processors that each part has taken so far; `submitter` is this process."""
        server = psutil.Process(self.postgres.pid)
        parts = {
            "postgresql": [server, *server.children()],
            "workers": [psutil.Process(each.pid) for each in self._simulations],
            "submitter": [psutil.Process()],
            "redis": [psutil.Process(self.redis.pid)],
        }
        return {part: sum(map(_cpu_s, processes)) for part, processes in parts.items()}

    def versions(self) -> dict[str, str]:
        """Of the servers."""
        database = SqlDatabase(self.postgres.url)
        with database.engine.connect() as connection:
            postgresql = str(connection.exec_driver_sql("SHOW server_version").scalar_one())
        database.close()
        with Redis.from_url(self.redis.url) as client:
            return {"postgresql server": postgresql, "redis server": client.info("server")["redis_version"]}

    def dismiss(self) -> None:
        """Ends all processes of simulated workers."""
        while self._simulations:
            self._simulations.pop().kill()


def _cpu_s(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        return float(sum(process.cpu_times()[:2]))
    return 0.0


class Farm:
    """As much of a farm as submitting and sweeping need.

    Attributes:
        ask: what simulated workers are told of it.
    """

    def __init__(self, url: str, broker_url: str, home: Path) -> None:
        self.ask = {"database_url": url, "broker_url": broker_url, "home": str(home)}
        self.settings = settings_for(self.ask)
        self.database = SqlDatabase(url)
        self.queue = CeleryQueue(new_celery_app(self.settings), broker_url)
        self._submitted = 0
        upgrade(self.database)
        with self.database.transaction() as transaction:
            transaction.fleet.describe(a_worker().device_types, a_worker().toolchains)

    def submit(self, count: int, user: str) -> float:
        """Files so many new jobs as users do, a matrix of at most 1,000 cells at a time; the seconds it took."""
        first, self._submitted = self._submitted, self._submitted + count
        return self.submit_range(first, first + count, user)

    def submit_range(self, first: int, end: int, user: str) -> float:
        """Files the jobs of a range of salts; those that are there are shared."""
        took_s = 0.0
        for begin in range(first, end, CELLS):
            cells = tuple(
                PlannedCell("nvidia-h200", a_build_spec(salt=str(number)), has_live_worker=True)
                for number in range(begin, min(begin + CELLS, end))
            )
            order = SubmitOrder("resnet", user, {}, JobRequest())
            began = time.perf_counter()
            submit_plan(self.database, a_model(), Plan(cells, (), (1,), ()), order)
            took_s += time.perf_counter() - began
        return took_s

    def count(self, *states: str) -> int:
        """How many jobs are in a state."""
        with self.database.engine.connect() as connection:
            of_states = ", ".join(f"'{state}'" for state in states)
            query = f"SELECT count(*) FROM jobs WHERE state IN ({of_states})"  # noqa: S608 - of this file
            return int(connection.exec_driver_sql(query).scalar_one())

    def close(self) -> None:
        """Closes its connections."""
        self.database.close()
