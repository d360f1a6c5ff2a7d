"""File what canaries say: mark the device that drifted with what it measured since, and trust it again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from farm.domain.canaries import Canary, Verdict, judged, last_good
from farm.domain.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.services.ports import Database, Transaction


@dataclass(frozen=True)
class FiledCanary:
    """What came of a canary.

    Attributes:
        canary: as it is filed.
        flagged_runs: how many runs are in doubt for it.
        is_trusted_again: whether its device was in doubt until now.
    """

    canary: Canary
    flagged_runs: int = 0
    is_trusted_again: bool = False


def verdict_of(database: Database, canary: Canary, disturbances: Sequence[str] = ()) -> tuple[Verdict, str]:
    """What a canary says of its device so far, and why; nothing is filed."""
    with database.reading() as transaction:
        return judged(canary, transaction.canaries.of_device(canary.device_uuid), disturbances)


def file_canary(database: Database, canary: Canary, disturbances: Sequence[str] = ()) -> FiledCanary:
    """Judges a canary by the history of its device, files it, and marks or clears the device.

    What a drifted device has measured since its last good canary is in doubt, since nobody knows when it drifted.
    """
    with database.transaction() as transaction:
        history = transaction.canaries.of_device(canary.device_uuid)
        verdict, reason = judged(canary, history, disturbances)
        filed = transaction.canaries.add(replace(canary, verdict=verdict, reason=reason))
        if verdict is Verdict.DRIFTED:
            good = last_good(history)
            transaction.canaries.suspect(canary.device_uuid, reason)
            flagged = 0
            if good is not None and good.measured_at is not None:
                flagged = transaction.canaries.flag_runs(canary.device_uuid, good.measured_at, reason)
            return FiledCanary(filed, flagged_runs=flagged)
        is_again = verdict is Verdict.GOOD and transaction.canaries.trust(canary.device_uuid)
        return FiledCanary(filed, is_trusted_again=is_again)


def accept_drift(transaction: Transaction, device_uuid: str, user: str) -> Canary:
    """Takes the newest canary of a device for how it is from now on, such as after a change of its power limit.

    Runs that are in doubt stay so: they were measured on another device, as it were.

    Raises:
        ConflictError: the device has not drifted.
    """
    history = transaction.canaries.of_device(device_uuid)
    newest = next((one for one in reversed(history) if one.verdict is not Verdict.DISTURBED), None)
    if newest is None or newest.verdict is not Verdict.DRIFTED:
        raise ConflictError(
            f"{device_uuid} has not drifted, so there is nothing to accept",
            hint="`farm canary` shows its history.",
        )
    transaction.canaries.accept(newest.id, Verdict.ACCEPTED, f"accepted by {user}; {newest.reason}")
    transaction.canaries.trust(device_uuid)
    return newest
