"""Settings: the only reader of the environment.

| variable            | what it says                                   | embedded default          |
|---------------------|------------------------------------------------|---------------------------|
| `FARM_HOME`         | folder of the embedded farm                    | `~/.local/share/engine-farm` |
| `FARM_DATABASE_URL` | SQLAlchemy URL of the database                 | SQLite in the folder      |
| `FARM_STORE`        | folder of the artifact store                   | `artifacts` in the folder |
| `FARM_BROKER_URL`   | Celery broker                                  | `memory://`               |
| `FARM_SCRATCH`      | folder for attempts in progress                | `scratch` in the folder   |
| `FARM_USER`         | who submits                                    | the login name            |
"""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EMBEDDED_BROKER = "memory://"


@dataclass(frozen=True)
class Settings:
    """Where this farm lives and who uses it.

    Attributes:
        home: folder of the embedded farm, and of what is local to a host in a fleet.
        database_url: SQLAlchemy URL.
        store: folder of the artifact store.
        broker_url: Celery broker; `memory://` stands for the worker's own process.
        scratch: folder for attempts in progress.
        user: recorded on submissions.
        host: name of this machine.
        lease_s: how long a claim holds without a heartbeat.
        poll_s: how often the sweeper looks for unannounced jobs.
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

    @property
    def is_embedded(self) -> bool:
        """Whether the broker lives inside the worker's process."""
        return self.broker_url == EMBEDDED_BROKER

    @property
    def sqlite_path(self) -> Path | None:
        """The database's file, if it is one."""
        prefix = "sqlite:///"
        return Path(self.database_url.removeprefix(prefix)) if self.database_url.startswith(prefix) else None


def read_settings(home: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process; an explicit `home` wins over `FARM_HOME`."""
    env = os.environ if environment is None else environment
    folder = (home or Path(env.get("FARM_HOME") or _default_home(env))).expanduser().absolute()
    return Settings(
        home=folder,
        database_url=env.get("FARM_DATABASE_URL") or f"sqlite:///{folder / 'farm.db'}",
        store=Path(env.get("FARM_STORE") or folder / "artifacts").expanduser().absolute(),
        broker_url=env.get("FARM_BROKER_URL") or EMBEDDED_BROKER,
        scratch=Path(env.get("FARM_SCRATCH") or folder / "scratch").expanduser().absolute(),
        user=env.get("FARM_USER") or _login_name(),
        host=socket.gethostname(),
        lease_s=float(env.get("FARM_LEASE_S") or 30.0),
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


def _default_home(env: Mapping[str, str]) -> Path:
    data = env.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "engine-farm"


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a user id that no account has.
        return str(os.getuid())
