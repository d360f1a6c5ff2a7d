"""(j) Several hosts, each a network namespace of its own; one is cut off, and its cable is plugged in again."""

from __future__ import annotations

import os
import secrets
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.chaos.fleet import LEASE_S
from tests.chaos.ordeal import Scenario
from tests.chaos.proxy import Proxy

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from tests.chaos.ordeal import Stage


@dataclass(frozen=True)
class Host:
    """A network namespace with one cable.

    Attributes:
        name: of the namespace.
        cable: the near end of it.
        address: of the near end, where the servers are to be found.
    """

    name: str
    cable: str
    address: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """Words before a command that runs there."""
        return ("ip", "netns", "exec", self.name)

    def plug(self, *, is_in: bool) -> None:
        """Cuts the host off, or plugs its cable in."""
        _ip("link", "set", self.cable, "up" if is_in else "down")


def no_namespaces() -> str:
    """Why there can be no hosts here; empty if there can."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    try:
        name = f"farm-{secrets.token_hex(3)}"
        _ip("netns", "add", name)
        _ip("netns", "del", name)
    except (OSError, subprocess.CalledProcessError):
        return "this machine makes no network namespaces"
    return ""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)  # noqa: S607


@contextmanager
def host(rng: random.Random) -> Iterator[Host]:
    """A host with a cable to this one, on addresses that are set aside for tests of networks (RFC 2544)."""
    word = secrets.token_hex(3)
    net = f"198.{rng.choice((18, 19))}.{rng.randrange(256)}.{4 * rng.randrange(64)}".rsplit(".", 1)
    near, far = (f"{net[0]}.{int(net[1]) + number}" for number in (1, 2))
    made = Host(f"farm-{word}", f"farm-{word}", near)
    _ip("netns", "add", made.name)
    try:
        _ip("link", "add", made.cable, "type", "veth", "peer", "name", "eth0", "netns", made.name)
        _ip("addr", "add", f"{near}/30", "dev", made.cable)
        _ip("-n", made.name, "addr", "add", f"{far}/30", "dev", "eth0")
        for words in (
            ("-n", made.name, "link", "set", "eth0", "up"),
            ("-n", made.name, "link", "set", "lo", "up"),
        ):
            _ip(*words)
        made.plug(is_in=True)
        yield made
    finally:
        # The cable goes with the namespace.
        _ip("netns", "del", made.name)


def cut_off(stage: Stage) -> None:
    """Three hosts with a worker each, with scratch folders of their own; one after the other is cut off and healed."""
    fleet, rng, settings = stage.fleet, stage.rng, stage.fleet.settings
    hosts = []
    for number in range(3):
        made = stage.stack.enter_context(host(rng))
        hosts.append(made)
        database = stage.stack.enter_context(Proxy(stage.postgres.port, host=made.address))
        broker = stage.stack.enter_context(Proxy(stage.broker.port, host=made.address))
        fleet.worker(
            prefix=made.prefix,
            host=f"host-{number}",
            scratch=stage.folder / f"scratch-{number}",
            database_url=database.url(settings.database_url),
            broker_url=broker.url(settings.broker_url),
        )
    fleet.client(stage.size, gap_s=1.0)
    fleet.wait_until_ready()
    for unlucky in rng.sample(hosts, 2 if stage.size < 10 else 3):
        fleet.pause(0.3, 1.5)
        unlucky.plug(is_in=False)
        fleet.fault("cut a host off")
        fleet.pause(LEASE_S, 2.5 * LEASE_S)
        unlucky.plug(is_in=True)


SCENARIOS = (Scenario("a host cut off and healed", cut_off, needs=no_namespaces),)
