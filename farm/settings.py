"""Settings: the only reader of the environment.

| variable            | what it says                                   | embedded default          |
|---------------------|------------------------------------------------|---------------------------|
| `FARM_HOME`         | folder of the embedded farm                    | `~/.local/share/engine-farm` |
| `FARM_DATABASE_URL` | SQLAlchemy URL of the database                 | SQLite in the folder      |
| `FARM_STORE`        | folder of the artifact store                   | `artifacts` in the folder |
| `FARM_BROKER_URL`   | Celery broker                                  | `memory://`               |
| `FARM_SCRATCH`      | folder for attempts in progress                | `scratch` in the folder   |
| `FARM_LOCKS`        | folder of the devices' locks, the same for all on a host | `/tmp/engine-farm-locks` |
| `FARM_USER`         | who submits                                    | the login name            |
| `FARM_LEASE_S`      | how long a claim holds without a heartbeat     | 30                        |
| `FARM_BUSY_S`       | how long SQLite waits for another writer       | 15                        |
"""

from __future__ import annotations

import getpass
import math
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from farm.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

EMBEDDED_BROKER = "memory://"
# Not the temporary folder of the environment: that differs between the users of one host.
DEFAULT_LOCKS = Path("/tmp/engine-farm-locks")  # noqa: S108


@dataclass(frozen=True)
class Settings:
    """Where this farm lives and who uses it.

    Attributes:
        home: folder of the embedded farm, and of what is local to a host in a fleet.
        database_url: SQLAlchemy URL.
        store: folder of the artifact store.
        broker_url: Celery broker; `memory://` stands for the worker's own process.
        scratch: folder for attempts in progress.
        locks: folder of the devices' locks; everybody on a host must name the same.
        user: recorded on submissions.
        host: name of this machine.
        lease_s: how long a claim holds without a heartbeat.
        poll_s: how often the sweeper looks for unannounced jobs.
        busy_s: how long SQLite waits for another writer before it gives up.
    """

    home: Path
    database_url: str
    store: Path
    broker_url: str
    scratch: Path
    user: str
    host: str
    lease_s: float = 30.0
    poll_s: float = 0.2
    busy_s: float = 15.0
    locks: Path = DEFAULT_LOCKS

    @property
    def is_embedded(self) -> bool:
        """Whether the broker lives inside the worker's process."""
        return self.broker_url == EMBEDDED_BROKER

    @property
    def sqlite_path(self) -> Path | None:
        """The database's file, if it is one."""
        found = re.fullmatch(r"sqlite(?:\+pysqlite)?:///([^?]+)(\?.*)?", self.database_url, re.DOTALL)
        return Path(unquote(found[1])) if found else None


def read_settings(home: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process; an explicit `home` wins over `FARM_HOME`.

    Raises:
        InvalidRequestError: a variable does not hold what it should.
    """
    env = os.environ if environment is None else environment
    folder = _folder("FARM_HOME", str(home or env.get("FARM_HOME") or _default_home(env)))
    return Settings(
        home=folder,
        database_url=env.get("FARM_DATABASE_URL") or _sqlite_url(folder / "farm.db"),
        store=_folder("FARM_STORE", env.get("FARM_STORE") or str(folder / "artifacts")),
        broker_url=_broker_url(env.get("FARM_BROKER_URL") or EMBEDDED_BROKER),
        scratch=_folder("FARM_SCRATCH", env.get("FARM_SCRATCH") or str(folder / "scratch")),
        locks=_folder("FARM_LOCKS", env.get("FARM_LOCKS") or str(DEFAULT_LOCKS)),
        user=env.get("FARM_USER") or _login_name(),
        host=socket.gethostname(),
        lease_s=_seconds("FARM_LEASE_S", env.get("FARM_LEASE_S") or "30"),
        busy_s=_seconds("FARM_BUSY_S", env.get("FARM_BUSY_S") or "15"),
    )


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child process: this one's, with changes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FARM_")}
    return {**kept, **extra}


def inherited_python_path() -> list[str]:
    """The folders of this process's PYTHONPATH."""
    return [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]


def own_environment() -> dict[str, str]:
    """The environment of another process of the farm itself: this one's."""
    return dict(os.environ)


def _folder(variable: str, text: str) -> Path:
    if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        raise InvalidRequestError(
            f"{variable} must be a folder, not a URL",
            hint="Name a folder; for a fleet, one that all hosts mount.",
        )
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise InvalidRequestError(f"{variable} is {text!r}, but there is no such user") from error


def _sqlite_url(path: Path) -> str:
    # A folder may have any name, and these two characters mean something in a URL.
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


def _broker_url(text: str) -> str:
    if not re.match(r"[a-z][a-z0-9+.-]*://", text):
        raise InvalidRequestError(
            "FARM_BROKER_URL must be a URL",
            hint="Such as redis://host:6379/0; leave it out for the embedded farm.",
        )
    return text


def _seconds(variable: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not (seconds > 0 and math.isfinite(seconds)):
        raise InvalidRequestError(f"{variable} must be a number of seconds above zero, not {text!r}")
    return seconds


def _default_home(env: Mapping[str, str]) -> Path:
    data = env.get("XDG_DATA_HOME")
    try:
        return (Path(data) if data else Path.home() / ".local" / "share") / "engine-farm"
    except RuntimeError as error:
        raise InvalidRequestError(
            "this user has no home folder to keep a farm in", hint="Name a folder with FARM_HOME or --home."
        ) from error


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a user id that no account has.
        return str(os.getuid())
