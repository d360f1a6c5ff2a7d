"""(e) A network between workers and servers that drops, delays, swallows and half-closes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.ordeal import Scenario
from tests.chaos.proxy import Proxy

if TYPE_CHECKING:
    from tests.chaos.ordeal import Stage


def unreliable(stage: Stage) -> None:
    """Two workers behind proxies of their own to both servers, and a fault of one or the other every moment."""
    fleet, rng = stage.fleet, stage.rng
    settings = fleet.settings
    proxies = []
    for _ in range(2):
        database = stage.stack.enter_context(Proxy(stage.postgres.port))
        broker = stage.stack.enter_context(Proxy(stage.broker.port))
        proxies += [database, broker]
        fleet.worker(
            database_url=database.url(settings.database_url), broker_url=broker.url(settings.broker_url)
        )
    fleet.client(stage.size, gap_s=0.8)
    fleet.wait_until_ready()
    for _ in range(max(5, stage.size)):
        fleet.pause(0.1, 0.8)
        _hurt(stage, rng.choice(proxies))
    for proxy in proxies:
        proxy.heal()


def _hurt(stage: Stage, proxy: Proxy) -> None:
    what = stage.rng.choice(("drop", "refuse", "delay", "swallow", "half-close"))
    stage.fleet.fault(f"network: {what}")
    if what == "drop":
        proxy.reset()
        return
    if what == "half-close":
        proxy.half_close()
        return
    if what == "delay":
        proxy.delay_s = stage.rng.uniform(0.05, 0.3)
    elif what == "swallow":
        proxy.swallows = True
    else:
        proxy.refuses = True
        proxy.reset()
    stage.fleet.pause(0.3, 3.0)
    proxy.heal()


SCENARIOS = (Scenario("network drops, delays, swallows, half-closes", unreliable),)
