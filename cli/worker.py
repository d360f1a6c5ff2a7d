"""`farm up` and `farm worker`: serve this machine's devices."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.context import json_option, opened, settings_of
from cli.render import show_json, show_json_line, show_line, show_note
from farm.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm.bootstrap import Farm
    from farm.settings import Settings
    from workers.serve import ServeOptions

_log = logging.getLogger(__name__)
_PYTHON_OPTION = click.option(
    "--toolchain-python",
    "pythons",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A Python interpreter whose environment has a toolchain, such as TensorRT 8.6; may be given several times.",
)
_DEVICE_OPTION = click.option(
    "--device",
    "devices",
    multiple=True,
    help="UUID (or its beginning), index, `gpu`, `cpu` or `all`; may be given several times.",
)


@click.command(short_help="Run an embedded farm with a worker for this machine's devices.")
@_DEVICE_OPTION
@_PYTHON_OPTION
@json_option
@click.pass_context
def up(ctx: click.Context, devices: tuple[str, ...], pythons: tuple[Path, ...], as_json: bool) -> None:
    """Run an embedded farm in one folder, with a worker for every device of this machine, until Ctrl-C.

    \b
    farm up
    farm up --device cpu
    farm up --toolchain-python /opt/trt86/bin/python
    """
    from workers.agent import FolderLock
    from workers.serve import ServeOptions

    farm = opened(ctx, create=True)
    with FolderLock(farm.settings.home):
        tell = _teller(farm.settings, as_json=as_json)
        tell(f"farm in {farm.settings.home}")
        _serve(farm, devices, pythons, ServeOptions(), with_cpu=True, tell=tell)


@click.group(invoke_without_command=True, short_help="Run a worker of a fleet on this machine.")
@_DEVICE_OPTION
@_PYTHON_OPTION
@click.option(
    "--name", default="", help="What it is called, for `drain` and `resume`. [default: host and device]"
)
@click.option(
    "--drain-timeout",
    help="How long it may finish its job after SIGTERM: 90s, 5m; 0 for not at all. [default: 5m]",
)
@click.option(
    "--of-a-host", is_flag=True, hidden=True, help="Started by a worker of several devices; ends with it."
)
@json_option
@click.pass_context
def worker(
    ctx: click.Context,
    devices: tuple[str, ...],
    pythons: tuple[Path, ...],
    name: str,
    drain_timeout: str | None,
    of_a_host: bool,
    as_json: bool,
) -> None:
    """Run a worker for this machine's GPUs (or its CPU, if it has none), a process for each, until SIGTERM or Ctrl-C.

    The fleet is where FARM_DATABASE_URL, FARM_BROKER_URL and FARM_STORE say. SIGTERM drains: nothing new is
    taken, and what runs may end; Ctrl-C, or a second SIGTERM, gives it back to the queue.

    \b
    FARM_BROKER_URL=redis://broker/0 FARM_DATABASE_URL=postgresql+psycopg://farm@db/farm \\
      farm worker --toolchain-python /opt/trt86/bin/python
    farm worker drain gpu07-0 --reason "new driver"
    """
    if ctx.invoked_subcommand is not None:
        return
    from farm.domain.durations import parse_duration
    from workers.serve import ServeOptions

    settings = settings_of(ctx)
    drain_s = settings.drain_s
    if drain_timeout is not None:
        drain_s = 0.0 if drain_timeout.strip() in ("0", "0s") else float(parse_duration(drain_timeout))
    farm = opened(ctx, create=settings.sqlite_path is not None)
    tell = _teller(settings, as_json=as_json)
    _serve(farm, devices, pythons, ServeOptions(drain_s, name, of_a_host), with_cpu=False, tell=tell)


@worker.command()
@click.argument("name")
@click.option("--reason", default="", help="Shown to whoever wonders.")
@json_option
@click.pass_context
def drain(ctx: click.Context, name: str, reason: str, as_json: bool) -> None:
    """Let worker NAME (or its id, or a host: all of its workers) finish what it does and take nothing new.

    It stays drained until `farm worker resume`, also when it is started again.

    \b
    farm worker drain gpu07-0 --reason "new driver"
    """
    from farm.services.drains import drain_workers

    farm = opened(ctx)
    with farm.database.transaction() as transaction:
        drained = drain_workers(
            transaction, name, reason or f"{farm.settings.user} asked", farm.settings.user
        )
    if as_json:
        show_json({"drained": [{"name": w.name, "job": w.current_job or None} for w in drained]})
        return
    for found in drained:
        job = f"; it still runs {found.current_job}" if found.current_job else ""
        show_line(f"{found.name} takes nothing new{job}")


@worker.command()
@click.argument("name")
@json_option
@click.pass_context
def resume(ctx: click.Context, name: str, as_json: bool) -> None:
    """Let worker NAME (or its id, or a host: all of its workers) take jobs again.

    \b
    farm worker resume gpu07-0
    """
    from farm.services.drains import resume_workers

    with opened(ctx).database.transaction() as transaction:
        names = resume_workers(transaction, name)
    if as_json:
        show_json({"resumed": names})
        return
    for resumed in names:
        show_line(f"{resumed} takes jobs again")


def _teller(settings: Settings, *, as_json: bool) -> Callable[[str], None]:
    """Says what happens: a line for people, a JSON document a line for programs, or a line of the log."""
    configure_logging(settings)
    if as_json:
        return lambda text: show_json_line({"message": text})
    # Whoever collects logs as JSON reads nothing else from standard error.
    return _log.info if settings.log_format == "json" else show_note


def _serve(
    farm: Farm,
    devices: tuple[str, ...],
    pythons: tuple[Path, ...],
    options: ServeOptions,
    *,
    with_cpu: bool,
    tell: Callable[[str], None],
) -> None:
    from farm.bootstrap import open_signer
    from workers.agent import choose_devices, probe_machine, sweep_scratch
    from workers.confinement import hide_this_process
    from workers.serve import serve_devices

    hide_this_process()
    # First, since it is what a new fleet lacks most often, and probing takes a while.
    open_signer(farm)
    chosen = choose_devices(devices, with_cpu=with_cpu)
    interpreters = probe_machine(farm, pythons)
    sweep_scratch(farm)
    serve_devices(farm, chosen, interpreters, options, tell=tell)
