"""Which device a user means: by its UUID, its host, or the name of its worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.errors import InvalidRequestError, UnsupportedTargetError
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection

    from farm.domain.targets import Device, Target
    from farm.services.ports import Transaction

#: Of a UUID so many first characters name a device.
_LEAST_OF_UUID = 4


def wanted_device(transaction: Transaction, word: str, targets: Collection[Target] | None = None) -> Device:
    """The one device that a word means, of all or among those that have served any of some targets.

    Args:
        transaction: that reads.
        word: a UUID or its beginning, a host, a worker's name.
        targets: of the engines that are to be run; none for any.

    Raises:
        UnsupportedTargetError: no device is called so, or none of that name serves these targets.
        InvalidRequestError: the word means several.
    """
    workers = transaction.fleet.workers()
    named = {
        worker.device.uuid: worker.device
        for worker in workers
        if word in (worker.name, worker.host, worker.device.uuid)
        or (len(word) >= _LEAST_OF_UUID and worker.device.uuid.startswith(word))
    }
    if not named:
        known = {name for worker in workers for name in (worker.name, worker.host, worker.device.uuid)}
        raise UnsupportedTargetError(
            f"no device, host or worker is called {word!r}",
            hint=did_you_mean(word, known) or "`farm devices` lists them.",
        )
    serving = {w.device.uuid for w in workers if targets is None or set(w.targets) & set(targets)}
    fitting = [device for uuid, device in named.items() if uuid in serving]
    if not fitting and targets is not None:
        wanted = ", ".join(sorted({str(target) for target in targets}))
        raise UnsupportedTargetError(
            f"{word} has never served {wanted}", hint="`farm devices` says which toolchains serve what."
        )
    if len(fitting) > 1:
        raise InvalidRequestError(
            f"{word} means {len(fitting)} devices: {', '.join(device.uuid for device in fitting)}",
            hint="Name one of them by its UUID.",
        )
    return fitting[0]
