"""`farm up` and `farm worker`: serve this machine's devices."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.context import json_option, opened, settings_of
from cli.drains import drain, resume
from cli.render import show_json_line
from cli.telling import teller
from farm.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm.bootstrap import Farm
    from workers.screen import Screen
    from workers.serve import ServeOptions

_log = logging.getLogger(__name__)
_PYTHON_OPTION = click.option(
    "--toolchain-python",
    "pythons",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A Python interpreter whose environment has a toolchain, such as TensorRT 8.6; may be given several times.",
)
_LIST_OPTION = click.option(
    "--toolchains",
    "listed_in",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file that lists interpreters. [default: FARM_TOOLCHAINS, else toolchains.toml in FARM_HOME]",
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
@_LIST_OPTION
@json_option
@click.pass_context
def up(
    ctx: click.Context,
    devices: tuple[str, ...],
    pythons: tuple[Path, ...],
    listed_in: Path | None,
    as_json: bool,
) -> None:
    """Run an embedded farm in one folder, with a worker for every device of this machine, until Ctrl-C.

    However it is told to stop, what runs is given back at once: a farm of one machine goes on when it is
    started again.

    \b
    farm up
    farm up --device cpu
    farm up --toolchain-python /opt/trt86/bin/python
    """
    from workers.folder_lock import FolderLock
    from workers.serve import ServeOptions

    farm = opened(ctx, create=True)
    with FolderLock(farm.settings.home):
        tell = teller(farm.settings, as_json=as_json)
        tell(f"farm in {farm.settings.home}")
        options = ServeOptions(pythons=pythons, listed_in=listed_in, words=("--json",) * as_json)
        _serve(farm, devices, options, with_cpu=True, tell=tell, as_json=as_json)


@click.group(invoke_without_command=True, short_help="Run a worker of a fleet on this machine.")
@_DEVICE_OPTION
@_PYTHON_OPTION
@_LIST_OPTION
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
@click.option("--cores", hidden=True, help="The processor cores of this device: 0,1,2,3.")
@json_option
@click.pass_context
def worker(
    ctx: click.Context,
    devices: tuple[str, ...],
    pythons: tuple[Path, ...],
    listed_in: Path | None,
    name: str,
    drain_timeout: str | None,
    of_a_host: bool,
    cores: str | None,
    as_json: bool,
) -> None:
    """Run a worker for this machine's GPUs (or its CPU, if it has none), a process for each, until SIGTERM or Ctrl-C.

    The fleet is where FARM_DATABASE_URL, FARM_BROKER_URL and FARM_STORE say. SIGTERM drains: nothing new is
    taken, and what runs may end; Ctrl-C, or a second SIGTERM, gives it back to the queue; a third signal ends
    the worker where it stands. A database or broker that is away is waited for.

    \b
    FARM_BROKER_URL=redis://broker/0 FARM_DATABASE_URL=postgresql+psycopg://farm@db/farm \\
      farm worker --toolchain-python /opt/trt86/bin/python
    farm worker drain gpu07-0 --reason "new driver"
    """
    if ctx.invoked_subcommand is not None:
        return
    from farm.domain.durations import parse_duration
    from workers.cores import keep_to_cores
    from workers.patience import patiently
    from workers.serve import ServeOptions, end_with_parent

    settings = settings_of(ctx)
    drain_s = settings.drain_s
    if drain_timeout is not None:
        drain_s = 0.0 if drain_timeout.strip() in ("0", "0s") else float(parse_duration(drain_timeout))
    if of_a_host:
        end_with_parent()
    if cores:
        keep_to_cores({int(core) for core in cores.split(",")})
    tell = teller(settings, as_json=as_json)
    # A farm in a folder has nobody who could bring its database back.
    is_fleet = settings.sqlite_path is None
    farm = patiently(lambda: opened(ctx), tell=tell, wait=_wait) if is_fleet else opened(ctx, create=True)
    options = ServeOptions(drain_s, name, pythons, listed_in, ("--json",) * as_json)
    _serve(farm, devices, options, with_cpu=False, tell=tell, as_json=as_json)


worker.add_command(drain)
worker.add_command(resume)


def _wait(seconds: float) -> bool:
    """Waits, and never gives up: whoever wants that sends a signal."""
    time.sleep(seconds)
    return False


def _serve(
    farm: Farm,
    devices: tuple[str, ...],
    options: ServeOptions,
    *,
    with_cpu: bool,
    tell: Callable[[str], None],
    as_json: bool,
) -> None:
    from farm.bootstrap import open_signer
    from workers.confinement import hide_this_process
    from workers.leftovers import sweep_scratch
    from workers.machine import probe_machine
    from workers.offers import choose_devices
    from workers.patience import patiently
    from workers.serve import serve_devices

    def show(screen: Screen) -> None:
        if as_json:
            show_json_line({"serving": screen.as_json()})
            return
        if farm.settings.log_format == "json":
            _log.info(screen.lines()[0], extra=fields("serving", serving=screen.as_json()))
            return
        for line in screen.lines():
            tell(line)

    hide_this_process()
    # First, since it is what a new fleet lacks most often, and probing takes a while.
    patiently(lambda: open_signer(farm), tell=tell, wait=_wait)
    chosen = choose_devices(devices, with_cpu=with_cpu)
    interpreters = probe_machine(farm, options.pythons, options.listed_in)
    patiently(lambda: sweep_scratch(farm), tell=tell, wait=_wait)
    serve_devices(farm, chosen, interpreters, options, tell=tell, show=show)
