"""Settings: the only reader of the environment.

| variable            | what it says                                   | embedded default          |
|---------------------|------------------------------------------------|---------------------------|
| `FARM_HOME`         | folder of the embedded farm                    | `~/.local/share/engine-farm` |
| `FARM_DATABASE_URL` | SQLAlchemy URL of the database                 | SQLite in the folder      |
| `FARM_STORE`        | folder of the artifact store, or `s3://bucket/prefix` | `artifacts` in the folder |
| `FARM_BROKER_URL`   | Celery broker                                  | `memory://`               |
| `FARM_SCRATCH`      | folder for attempts in progress                | `scratch` in the folder   |
| `FARM_TOOLCHAINS`   | file that lists interpreters of toolchains     | `toolchains.toml` in the folder, if it is there |
| `FARM_LOCKS`        | folder of the devices' locks, the same for all on a host | `/tmp/engine-farm-locks` |
| `FARM_USER`         | who submits                                    | the login name            |
| `FARM_LEASE_S`      | how long a claim holds without a heartbeat     | 30                        |
| `FARM_BUSY_S`       | how long SQLite waits for another writer       | 15                        |
| `FARM_DRAIN_S`      | how long a worker may finish its job after SIGTERM | 300                   |
| `FARM_LEAST_GRACE_S` | for tests of the farm: how long at least `farm gc` leaves what nothing refers to | 3600 |
| `FARM_FAILPOINTS`   | for tests of the farm: steps at which a process dies (farm/failpoints.py) | none |
| `FARM_LOG_FORMAT`   | `text` or `json`: how long-running commands log | `text`                   |
| `FARM_LOG_LEVEL`    | `debug`, `info`, `warning` or `error`          | `warning`; `info` in JSON |
| `FARM_SIGNING_KEY`  | file of the private key that signs engines     | `signing.key` in the folder |
| `FARM_TRUSTED_KEYS` | file of public keys; with it only these count  | the keys in SQL           |
| `FARM_CHILD_MEMORY` | memory of a child with all that it starts      | 90 % of the host's or the container's |
| `FARM_CHILD_FILE_SIZE` | the largest file that a child may write     | `64G`                     |
| `FARM_CHILD_CPU_S`  | CPU seconds of one process of a child          | the deadline for every core |
| `FARM_CHILD_ENV`    | more variables that a child gets, by their names | none                    |
| `FARM_SCRATCH_QUOTA` | disk that one attempt may take                | `128G`                    |
| `FARM_CANARY`       | `auto`, `on`, `off` or `drain`: whether workers time a canary, and drain where it drifts | `auto`: off; on the GPUs of a fleet |
| `FARM_CANARY_EVERY` | hours between two canaries of an idle worker   | 12                        |
| `FARM_REMEASURE`    | how often at most a disturbed benchmark is made again, 0 to 9 | 2 on a GPU, 0 on a CPU |

A secret may come from a file: `FARM_DATABASE_URL_FILE` and `FARM_BROKER_URL_FILE` name one with the whole URL,
`FARM_DATABASE_PASSWORD_FILE` and `FARM_BROKER_PASSWORD_FILE` one with the password that the URL leaves out.

A store in a bucket is reached with the variables that other clients of S3 read: `AWS_ENDPOINT_URL` (or
`AWS_ENDPOINT_URL_S3`), `AWS_REGION`, `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
`AWS_SHARED_CREDENTIALS_FILE` and `AWS_PROFILE`, `AWS_CA_BUNDLE`, `AWS_VIRTUAL_HOSTED_STYLE_REQUEST`, and those of
roles (`AWS_WEB_IDENTITY_TOKEN_FILE`, `AWS_ROLE_ARN`, `AWS_CONTAINER_CREDENTIALS_*`).
"""

from __future__ import annotations

import getpass
import math
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from farm.credentials import remember_secrets, secret_url
from farm.domain.errors import InvalidRequestError
from farm.domain.stores import LEAST_GRACE_S
from farm.setting_values import (
    broker_value,
    choice_value,
    folder_value,
    hours_value,
    seconds_value,
    size_value,
    sqlite_url,
    store_value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from farm.domain.stores import BucketUrl

Value = TypeVar("Value")
EMBEDDED_BROKER = "memory://"
LOG_FORMATS = ("text", "json")
CANARY_MODES = ("auto", "on", "off", "drain")
LOG_LEVELS = ("debug", "info", "warning", "error")
# Not the temporary folder of the environment: that differs between the users of one host.
DEFAULT_LOCKS = Path("/tmp/engine-farm-locks")  # noqa: S108

#: What a child inherits: how to find programs and libraries, the language, and what steers CUDA, ONNX Runtime
#: and the mathematical libraries. docs/security.md lists them.
_CHILD_VARIABLE = re.compile(
    r"PATH|LD_LIBRARY_PATH|LANG|LANGUAGE|LC_\w+|TZ|TZDIR|PYENV_ROOT|PYENV_VERSION|VIRTUAL_ENV|CONDA_PREFIX"
    r"|(CUDA|NVIDIA|CUDNN|CUBLAS|CUBLASLT|TENSORRT|ORT|OMP|GOMP|KMP|MKL|OPENBLAS)_\w+"
)
#: And never, such as NVIDIA_API_KEY.
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH|COOKIE|SESSION", re.IGNORECASE)
_STORE_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@dataclass(frozen=True)
class Settings:
    """Where this farm lives and who uses it.

    Attributes:
        home: folder of the embedded farm, and of what is local to a host in a fleet.
        database_url: SQLAlchemy URL.
        store: folder of the artifact store, or its place in a bucket.
        store_access: the variables `AWS_*`, for a store in a bucket.
        least_grace_s: how long at least `farm gc` leaves bytes that nothing refers to.
        broker_url: Celery broker; `memory://` stands for the worker's own process.
        scratch: folder for attempts in progress.
        locks: folder of the devices' locks; everybody on a host must name the same.
        user: recorded on submissions.
        host: name of this machine.
        lease_s: how long a claim holds without a heartbeat.
        poll_s: how often an embedded worker looks for due jobs; the sweeper of a fleet, a fifth as often.
        busy_s: how long SQLite waits for another writer before it gives up.
        drain_s: how long a worker may finish its job after SIGTERM.
        failpoints: steps at which this process dies, freezes or fails; for tests of the farm itself.
        log_format: `text` or `json`.
        log_level: the lowest level that is logged.
        signing_key: file of the private key; none for a fleet's client, and for a farm that makes its own.
        trusted_keys: file of the public keys that alone count; none for those in SQL.
        child_memory: bytes that a child with all that it starts may hold; none for a share of what is there.
        child_file_size: bytes of the largest file that a child may write.
        child_cpu_s: CPU seconds of one process of a child; none for the deadline on every core.
        scratch_quota: bytes on disk that one attempt may take.
        canary: whether workers time canaries: `on`, `off`, `drain` (on, and a worker whose device drifts takes nothing
            new), or `auto`: on for the GPUs of a fleet.
        canary_every_h: hours between two canaries of a worker that is idle then.
        remeasure: how often at most a disturbed benchmark is made again; none for what suits the device.
        toolchains: file that lists interpreters of toolchains; none for the one in `home`, if it is there.
    """

    home: Path
    # With their passwords, so not for anybody who prints the settings.
    database_url: str = field(repr=False)
    store: Path | BucketUrl
    broker_url: str = field(repr=False)
    scratch: Path
    user: str
    host: str
    lease_s: float = 30.0
    poll_s: float = 0.2
    busy_s: float = 15.0
    locks: Path = DEFAULT_LOCKS
    failpoints: str = ""
    drain_s: float = 300.0
    log_format: str = "text"
    log_level: str = "warning"
    signing_key: Path | None = None
    trusted_keys: Path | None = None
    child_memory: int | None = None
    child_file_size: int = 64 << 30
    child_cpu_s: int | None = None
    scratch_quota: int = 128 << 30
    remeasure: int | None = None
    canary: str = "auto"
    canary_every_h: float = 12.0
    # With the secret key.
    store_access: Mapping[str, str] = field(default_factory=dict, repr=False)
    least_grace_s: float = LEAST_GRACE_S
    toolchains: Path | None = None

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

    def value(read: Callable[[str, str], Value], variable: str, default: object) -> Value:
        return read(variable, env.get(variable) or str(default))

    folder = folder_value("FARM_HOME", str(home or env.get("FARM_HOME") or _default_home(env)))
    return Settings(
        home=folder,
        database_url=secret_url(env, "FARM_DATABASE_URL") or sqlite_url(folder / "farm.db"),
        store=value(store_value, "FARM_STORE", folder / "artifacts"),
        store_access=_store_access(env),
        least_grace_s=value(seconds_value, "FARM_LEAST_GRACE_S", Settings.least_grace_s),
        broker_url=broker_value("FARM_BROKER_URL", secret_url(env, "FARM_BROKER_URL") or EMBEDDED_BROKER),
        scratch=value(folder_value, "FARM_SCRATCH", folder / "scratch"),
        locks=value(folder_value, "FARM_LOCKS", Settings.locks),
        failpoints=env.get("FARM_FAILPOINTS") or "",
        drain_s=value(_drain_seconds, "FARM_DRAIN_S", Settings.drain_s),
        user=env.get("FARM_USER") or _login_name(),
        host=socket.gethostname(),
        lease_s=value(seconds_value, "FARM_LEASE_S", Settings.lease_s),
        busy_s=value(seconds_value, "FARM_BUSY_S", Settings.busy_s),
        log_format=(
            log_format := choice_value("FARM_LOG_FORMAT", env.get("FARM_LOG_FORMAT") or "text", LOG_FORMATS)
        ),
        log_level=choice_value(
            "FARM_LOG_LEVEL",
            env.get("FARM_LOG_LEVEL") or ("info" if log_format == "json" else "warning"),
            LOG_LEVELS,
        ),
        signing_key=_optional_file("FARM_SIGNING_KEY", env),
        trusted_keys=_optional_file("FARM_TRUSTED_KEYS", env),
        child_memory=value(size_value, "FARM_CHILD_MEMORY", 0) or None,
        child_file_size=value(size_value, "FARM_CHILD_FILE_SIZE", Settings.child_file_size),
        child_cpu_s=math.ceil(seconds_value("FARM_CHILD_CPU_S", env["FARM_CHILD_CPU_S"]))
        if env.get("FARM_CHILD_CPU_S")
        else None,
        toolchains=_optional_file("FARM_TOOLCHAINS", env),
        scratch_quota=value(size_value, "FARM_SCRATCH_QUOTA", Settings.scratch_quota),
        canary=choice_value("FARM_CANARY", env.get("FARM_CANARY") or Settings.canary, CANARY_MODES),
        canary_every_h=value(hours_value, "FARM_CANARY_EVERY", Settings.canary_every_h),
        remeasure=int(choice_value("FARM_REMEASURE", env["FARM_REMEASURE"], tuple("0123456789")))
        if env.get("FARM_REMEASURE")
        else None,
    )


def child_environment(
    extra: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The environment of a child process: of this one's what a toolchain needs, and what is given here.

    Args:
        extra: set last.
        environment: in place of this process's own.
    """
    env = os.environ if environment is None else environment
    named = {name.strip() for name in env.get("FARM_CHILD_ENV", "").split(",")}
    kept = {
        name: value
        for name, value in env.items()
        if (_CHILD_VARIABLE.fullmatch(name) and not _SECRET.search(name)) or name in named
    }
    # What the farm itself is told is nobody else's, whoever names it.
    return {**{name: value for name, value in kept.items() if not name.startswith("FARM_")}, **extra}


def inherited_python_path() -> list[str]:
    """The folders of this process's PYTHONPATH."""
    return [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]


def own_environment() -> dict[str, str]:
    """The environment of another process of the farm itself: this one's."""
    return dict(os.environ)


def _store_access(env: Mapping[str, str]) -> dict[str, str]:
    found = {name: value for name, value in env.items() if name.startswith("AWS_")}
    remember_secrets(value for name, value in found.items() if name in _STORE_SECRETS)
    return found


def _drain_seconds(variable: str, text: str) -> float:
    return 0.0 if text.strip() in ("0", "0.0") else seconds_value(variable, text)


def _optional_file(variable: str, env: Mapping[str, str]) -> Path | None:
    return folder_value(variable, env[variable]) if env.get(variable) else None


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
