"""Every scenario, in the order of the report."""

from __future__ import annotations

from tests.chaos import (
    brokers,
    children,
    databases,
    deaths,
    disks,
    ghosts,
    gpus,
    hosts,
    networks,
    operations,
    releases,
)

MODULES = (deaths, ghosts, brokers, databases, networks, disks, children, gpus, operations, releases, hosts)
SCENARIOS = tuple(scenario for module in MODULES for scenario in module.SCENARIOS)
