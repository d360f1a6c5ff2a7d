"""`farm up` and `farm worker`: serve this machine's devices."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.context import json_option, opened, settings_of
from cli.render import show_json_line, show_note
from farm.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm.bootstrap import Farm
    from farm.settings import Settings

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

    farm = opened(ctx, create=True)
    with FolderLock(farm.settings.home):
        tell = _teller(farm.settings, as_json=as_json)
        tell(f"farm in {farm.settings.home}")
        _serve(farm, devices, pythons, with_cpu=True, tell=tell)


@click.command(short_help="Run a worker of a fleet on this machine.")
@_DEVICE_OPTION
@_PYTHON_OPTION
@json_option
@click.pass_context
def worker(ctx: click.Context, devices: tuple[str, ...], pythons: tuple[Path, ...], as_json: bool) -> None:
    """Run a worker for this machine's GPUs (or its CPU, if it has none) until SIGTERM or Ctrl-C.

    The fleet is where FARM_DATABASE_URL, FARM_BROKER_URL and FARM_STORE say.

    \b
    FARM_BROKER_URL=redis://broker/0 FARM_DATABASE_URL=postgresql+psycopg://farm@db/farm \\
      farm worker --toolchain-python /opt/trt86/bin/python
    """
    settings = settings_of(ctx)
    farm = opened(ctx, create=settings.sqlite_path is not None)
    _serve(farm, devices, pythons, with_cpu=False, tell=_teller(settings, as_json=as_json))


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
    *,
    with_cpu: bool,
    tell: Callable[[str], None],
) -> None:
    from farm.bootstrap import open_signer
    from workers.agent import choose_devices, probe_machine, sweep_scratch
    from workers.serve import serve_devices

    # First, since it is what a new fleet lacks most often, and probing takes a while.
    open_signer(farm)
    chosen = choose_devices(devices, with_cpu=with_cpu)
    interpreters = probe_machine(farm, pythons)
    sweep_scratch(farm)
    serve_devices(farm, chosen, interpreters, tell=tell)
