"""`farm sweep`: the sweeper of a fleet, on a machine without a device."""

from __future__ import annotations

import click

from cli.context import json_option, opened, settings_of
from cli.render import show_json_line
from cli.telling import teller


@click.command(short_help="Run a fleet's sweeper without a device.")
@click.option("--once", is_flag=True, help="Look once for everything that is due, then end.")
@json_option
@click.pass_context
def sweep(ctx: click.Context, once: bool, as_json: bool) -> None:
    """Wake workers for what is due, take jobs from silent workers, and end what waited for too long.

    Every worker does this too, one at a time in a fleet; this keeps it up when no worker is there.

    \b
    farm sweep
    farm sweep --once
    """
    from farm.domain.identifiers import new_id
    from workers.queues import CeleryQueue, new_celery_app
    from workers.stopping import StopSignals
    from workers.sweeper import Sweeper

    settings = settings_of(ctx)
    tell = teller(settings)
    farm = opened(ctx)
    # An embedded worker hears nobody but itself: there is nobody to wake, and the rest is done all the same.
    targets = () if settings.is_embedded else None
    queue = CeleryQueue(new_celery_app(settings), settings.broker_url)
    sweeper = Sweeper(farm, queue, new_id("sweeper"), targets=targets)
    if once:
        sweeper.once()
        text = "swept" if sweeper.has_duty else "another sweeper has the duty"
    else:
        stop = StopSignals().install()
        tell("sweeping; Ctrl-C stops it")
        sweeper.run(stop.asked)
        text = "stopped"
    sweeper.leave()
    if as_json:
        show_json_line({"message": text, "had_duty": sweeper.has_duty})
    else:
        tell(text)
