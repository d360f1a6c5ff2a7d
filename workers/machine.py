"""Probes this machine: its interpreters, and what it could serve."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from farm.domain.errors import StoreUnavailableError, UnsupportedTargetError
from workers.devices import discover_devices
from workers.interpreters import probe_interpreters
from workers.offers import choose_devices, is_meant, offer_of
from workers.toolchain_list import FILE_NAME, read_toolchain_list

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from farm.bootstrap import Farm
    from farm.settings import Settings
    from workers.interpreters import Interpreter
    from workers.toolchain_list import ListedInterpreter

_log = logging.getLogger(__name__)


def probe_machine(
    farm: Farm, pythons: Sequence[Path] = (), listed_in: Path | None = None
) -> list[Interpreter]:
    """The interpreters of this machine, the farm's own first.

    Args:
        farm: the open farm.
        pythons: that the operator names.
        listed_in: a file that lists more; the one of FARM_TOOLCHAINS, or in the farm's folder, if none.

    Raises:
        InvalidRequestError: one of those named does not work, or the file can not be read.
        StoreUnavailableError: the scratch folder can not be written.
    """
    try:
        farm.settings.scratch.mkdir(parents=True, exist_ok=True)
        found = probe_interpreters(
            pythons, farm.settings.scratch, listed_interpreters(farm.settings, listed_in)
        )
    except OSError as error:
        raise StoreUnavailableError(
            f"the scratch folder {farm.settings.scratch} can not be written: {error.strerror}",
            hint="FARM_SCRATCH names another.",
        ) from error
    _warn_of_devices(found)
    return found


def _warn_of_devices(interpreters: Sequence[Interpreter]) -> None:
    """A file may serve several hosts, so this is no error; but it may be a slip of the pen."""
    words = [(interpreter.path, word) for interpreter in interpreters for word in interpreter.devices]
    devices = discover_devices() if words else []
    for path, word in words:
        if not any(is_meant(device, word) for device in devices):
            _log.warning("%s is listed for the device %r, which this machine does not have", path, word)


def listed_interpreters(settings: Settings, listed_in: Path | None = None) -> list[ListedInterpreter]:
    """The interpreters that a file lists: a given one, or else that of the settings or in the farm's folder.

    Raises:
        InvalidRequestError: it can not be read, or does not say what it should.
    """
    named, usual = listed_in or settings.toolchains, settings.home / FILE_NAME
    if named is None and not usual.exists():
        return []
    return read_toolchain_list(named or usual)


def describe_machine(farm: Farm, pythons: Sequence[Path] = ()) -> None:
    """Files what this machine could serve, so that work can be queued before a worker runs."""
    interpreters = probe_machine(farm, pythons)
    for device in choose_devices((), with_cpu=True):
        try:
            offer = offer_of(device, interpreters)
        except UnsupportedTargetError as error:
            _log.info("%s", error)
            continue
        with farm.database.transaction() as transaction:
            transaction.fleet.describe(offer.device_types, offer.descriptions)
