"""What files and folders say when they fail, as the farm's own errors."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from farm.domain.errors import StoreUnavailableError

if TYPE_CHECKING:
    from pathlib import Path


def store_error(place: Path, error: OSError) -> StoreUnavailableError:
    """Why a place of the store can not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreUnavailableError(f"no space left at {place}", hint="Free some space, then try again.")
    if error.errno == errno.ENOENT:
        return StoreUnavailableError(
            f"{place} is missing", hint="Is it mounted? FARM_STORE says where the store is."
        )
    return StoreUnavailableError(
        f"{place} can not be written: {error.strerror}", hint="Check its owner and mode."
    )


def destination_error(destination: Path, error: OSError) -> StoreUnavailableError:
    """Why a file that is fetched to can not be written."""
    if not destination.parent.is_dir():
        return StoreUnavailableError(
            f"{destination} can not be written: there is no folder {destination.parent}",
            hint="Make the folder first.",
        )
    return store_error(destination, error)
