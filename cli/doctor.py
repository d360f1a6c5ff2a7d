"""`farm doctor`: what works here, what does not, and what to do about it."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.context import json_option, settings_of
from cli.render import show_json, show_line, size
from farm.credentials import redacted
from farm.domain.baselines import ONLY_BASELINES
from farm.domain.errors import FarmError

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm.settings import Settings
    from farm.storage.sql_logins import Login

_LOW_SPACE_BYTES = 5 << 30
#: Toolchains that other hosts miss nothing without.
_ON_GPU_HOSTS = ("tensorrt", "torch-tensorrt")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        subject: what.
        state: `ok`, `warning` or `broken`.
        message: what was found.
        hint: what to do; empty if nothing.
    """

    subject: str
    state: str
    message: str
    hint: str = ""


@click.command(short_help="Check what works here, what does not, and what to do about it.")
@click.option(
    "--toolchain-python",
    "pythons",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Also look into this interpreter's environment.",
)
@json_option
@click.pass_context
def doctor(ctx: click.Context, pythons: tuple[Path, ...], as_json: bool) -> None:
    """Check the database, the store, the broker, the devices and the toolchains of this machine.

    Exits with 1 if something is broken.

    \b
    farm doctor
    farm doctor --toolchain-python /opt/trt86/bin/python
    """
    settings = settings_of(ctx)
    checks: list[Callable[[], list[Finding]]] = [
        lambda: _database(settings),
        lambda: _store(settings),
        lambda: _broker(settings),
        lambda: _workers(settings),
        lambda: _devices(),
        lambda: _locks(settings),
        lambda: _toolchains(pythons),
    ]
    found = [finding for check in checks for finding in check()]
    if as_json:
        show_json([vars(finding) for finding in found])
    else:
        signs = {"ok": click.style("✓", fg="green"), "warning": click.style("!", fg="yellow")}
        for finding in found:
            sign = signs.get(finding.state, click.style("✗", fg="red"))
            show_line(f"{sign} {finding.subject}: {finding.message}")
            if finding.hint:
                show_line(f"    {finding.hint}")
    ctx.exit(1 if any(finding.state == "broken" for finding in found) else 0)


def _broken(subject: str, error: FarmError) -> list[Finding]:
    # That this very command says more helps nobody who has just called it.
    hint = re.sub(r"\s*`farm doctor`[^.]*\.", "", error.hint)
    return [Finding(subject, "broken", error.message, hint)]


def _database(settings: Settings) -> list[Finding]:
    from farm.bootstrap import open_database
    from farm.storage.database import hide_password
    from farm.storage.grants import CREATE_ROLES
    from farm.storage.schema import HEAD, check_schema, missing_sql_roles
    from farm.storage.sql_logins import login_of

    path = settings.sqlite_path
    if path is not None and not path.exists():
        return [
            Finding("database", "ok", f"none in {settings.home} yet", "`farm demo` or `farm up` makes one.")
        ]
    try:
        database = open_database(settings)
        check_schema(database)
        with database.transaction() as transaction:
            transaction.now()
        missing = missing_sql_roles(database)
        login = login_of(database)
    except FarmError as error:
        return _broken("database", error)
    where = f"{hide_password(settings.database_url)}, schema {HEAD}"
    found = [Finding("database", "ok", f"{where}, writable" if login is None else where)]
    if login is not None:
        found += _login(login)
    if missing:
        found.append(
            Finding(
                "SQL roles",
                "warning",
                f"{', '.join(missing)} not there: everybody needs the owner's login",
                f"Let an administrator run: {CREATE_ROLES} Then run `farm db upgrade`.",
            )
        )
    return found


def _login(login: Login) -> list[Finding]:
    roles = ", ".join(login.roles)
    if login.is_operator:
        return [Finding("SQL login", "ok", f"{login.name}, the operator: owns the tables, may do everything")]
    if not roles:
        message = f"{login.name} has none of the farm's SQL roles, and does not own the tables"
        hint = "`GRANT farm_submitter TO …` (or farm_worker, farm_reader) gives it one."
        return [Finding("SQL login", "warning", message, hint)]
    return [
        Finding("SQL login", "ok", f"{login.name}, with the rights of {roles}"),
        *(
            Finding("SQL login", "ok", f"{login.name} may not: {commands}; that needs {who}")
            for commands, who in login.refused
        ),
    ]


def _store(settings: Settings) -> list[Finding]:
    from farm.bootstrap import open_store

    path = settings.sqlite_path
    is_new = path is not None and not path.exists()
    place = settings.store
    if is_new and isinstance(place, Path) and not place.exists():
        return [Finding("artifact store", "ok", f"{place}, not made yet")]
    try:
        store = open_store(settings)
        if is_new:
            # A bucket that is there is all that a new farm needs.
            store.create()
        store.put_bytes(b"farm doctor\n")
    except FarmError as error:
        return _broken("artifact store", error)
    if not isinstance(place, Path):
        return [Finding("artifact store", "ok", f"{place}, writable")]
    free = shutil.disk_usage(place).free
    if free < _LOW_SPACE_BYTES:
        return [
            Finding(
                "artifact store",
                "warning",
                f"{place}: only {size(free)} free",
                "Engines take space: free some.",
            )
        ]
    return [Finding("artifact store", "ok", f"{place}, writable, {size(free)} free")]


def _broker(settings: Settings) -> list[Finding]:
    if settings.is_embedded:
        return [Finding("broker", "ok", "in the worker's own process (embedded)")]
    from farm.storage.database import hide_password
    from workers.queues import new_celery_app

    where = hide_password(settings.broker_url)
    try:
        with new_celery_app(settings).connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
    except Exception as error:  # noqa: BLE001 - every transport has errors of its own
        return [
            Finding(
                "broker",
                "broken",
                redacted(f"{where}: {error}".splitlines()[0]),
                "Jobs are safe in SQL and wait; workers wake up once it is back.",
            )
        ]
    return [Finding("broker", "ok", where)]


def _workers(settings: Settings) -> list[Finding]:
    from farm.bootstrap import open_farm

    try:
        farm = open_farm(settings, create=False)
        with farm.database.reading() as transaction:
            live = [worker for worker in transaction.fleet.workers() if worker.is_live]
            suspects = transaction.canaries.suspects().items()
    except FarmError:
        # The database has its own finding.
        return []
    how = "`farm canary` shows how it was before."
    doubts = [Finding("device", "warning", f"{uuid} is in doubt: {s.reason}", how) for uuid, s in suspects]
    if not live:
        how = "`farm up` starts one here." if settings.is_embedded else "`farm worker` starts one."
        return [Finding("workers", "warning", "none is live, so nothing is built", how), *doubts]
    hosts = sorted({worker.host for worker in live})
    return [Finding("workers", "ok", f"{len(live)} live on {', '.join(hosts)}"), *doubts]


def _devices() -> list[Finding]:
    from farm.domain.targets import DeviceKind
    from workers.devices import discover_devices

    found = discover_devices()
    findings = [
        Finding(
            "device",
            "ok",
            f"{d.device_type.product_name} ({d.device_type.slug}), {d.uuid}"
            + (f", driver {d.driver_version}" if d.driver_version else ""),
        )
        for d in found
    ]
    if not any(device.device_type.kind is DeviceKind.GPU for device in found):
        findings.append(
            Finding(
                "device",
                "warning",
                "no NVIDIA GPU",
                "The CPU is served, and engines for RTX GPUs are built ahead of time. `nvidia-smi` tells whether a driver is there.",
            )
        )
    return findings


def _locks(settings: Settings) -> list[Finding]:
    from workers.device_lock import is_containers_own
    from workers.devices import DeviceLock, describe_cpu, discover_gpus

    try:
        DeviceLock(describe_cpu().uuid, folder=settings.locks).check()
    except FarmError as error:
        return _broken("device locks", error)
    if discover_gpus().devices and is_containers_own(settings.locks):
        return [
            Finding(
                "device locks",
                "warning",
                f"{settings.locks} is this container's own, so nobody outside sees who holds a device",
                "Mount one folder of the host into every container that uses its devices, and name it: FARM_LOCKS.",
            )
        ]
    return [Finding("device locks", "ok", f"{settings.locks}, to be the same for everybody on this host")]


def _toolchains(pythons: tuple[Path, ...]) -> list[Finding]:
    import tempfile

    from workers.interpreters import probe_interpreters

    try:
        with tempfile.TemporaryDirectory() as folder:
            interpreters = probe_interpreters(pythons, Path(folder))
    except FarmError as error:
        return _broken("toolchains", error)
    findings = []
    for interpreter in interpreters:
        where = f"Python {interpreter.version} at {interpreter.path}"
        for toolchain in interpreter.toolchains:
            precisions = ", ".join(toolchain.supported_precisions)
            findings.append(Finding("toolchain", "ok", f"{toolchain.id} ({precisions}) in {where}"))
        for name, reason in interpreter.missing.items():
            if name in ONLY_BASELINES:
                # Nobody misses what engines are only compared with.
                continue
            hint = (
                "Needed on a GPU host only: --toolchain-python names an interpreter that has it."
                if name in _ON_GPU_HOSTS
                else ""
            )
            # A host without a GPU misses nothing there.
            state = "ok" if name in _ON_GPU_HOSTS and not pythons else "warning"
            findings.append(Finding("toolchain", state, f"no {name} in {where}: {reason}", hint))
    return findings
