"""What an embedded farm finds out of its own machine before the first worker has run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.render import show_note

if TYPE_CHECKING:
    from farm.bootstrap import Farm


def know_this_machine(farm: Farm) -> None:
    """An embedded farm that has never had a worker looks at its own machine, so that work can be queued."""
    if not farm.settings.is_embedded:
        return
    with farm.database.reading() as transaction:
        if transaction.fleet.known_targets():
            return
    from workers.machine import describe_machine

    show_note("looking at what this machine can build for …")
    describe_machine(farm)
