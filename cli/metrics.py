"""`farm metrics`: figures for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.context import json_option, opened, settings_of
from cli.render import show_json, show_text
from cli.telling import teller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from farm.bootstrap import Farm
    from farm.domain.metrics import FarmFigures

#: Scrapes within so many seconds get the same figures: some of them read whole tables.
CACHE_S = 10.0


@click.command(short_help="Serve figures for Prometheus.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=9464, show_default=True, help="0 for any.")
@click.option("--once", is_flag=True, help="Print the figures and end.")
@json_option
@click.pass_context
def metrics(ctx: click.Context, address: str, port: int, once: bool, as_json: bool) -> None:
    """Serve figures for Prometheus at /metrics: depth and age of queues, states, build times, caches, workers, store.

    \b
    farm metrics --once
    farm metrics --address 0.0.0.0 --port 9464
    """
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server

    farm = opened(ctx)
    registry = CollectorRegistry()
    registry.register(FarmCollector(farm))
    if as_json:
        families = FarmCollector(farm).collect()
        show_json(
            [
                {"name": sample.name, "labels": sample.labels, "value": sample.value}
                for family in families
                for sample in family.samples
            ]
        )
        return
    if once:
        show_text(generate_latest(registry).decode())
        return
    from farm.domain.errors import InvalidRequestError
    from workers.stopping import StopSignals

    tell = teller(settings_of(ctx))
    stop = StopSignals().install()
    try:
        server, _ = start_http_server(port, address, registry)
    except OSError as error:
        raise InvalidRequestError(
            f"can not listen on {address}:{port}: {error.strerror}", hint="Choose another --port."
        ) from error
    tell(f"metrics at http://{address}:{server.server_port}/metrics; Ctrl-C stops it")
    stop.asked.wait()
    server.shutdown()


class FarmCollector:
    """Asks SQL at a scrape, and no more often than every few seconds.

    Args:
        farm: the open farm.
        clock: in seconds.
    """

    def __init__(self, farm: Farm, clock: Callable[[], float] | None = None) -> None:
        import time

        self._farm = farm
        self._clock = clock or time.monotonic
        self._read_at = float("-inf")
        self._families: list[Metric] = []

    def describe(self) -> list[Metric]:
        """Nothing: a farm that is away must not keep this from starting."""
        return []

    def collect(self) -> list[Metric]:
        """The figures, and whether the farm could be asked for them."""
        from prometheus_client.core import GaugeMetricFamily

        from farm.domain.errors import FarmError

        if self._clock() - self._read_at >= CACHE_S:
            try:
                self._families = [*_families(self._farm), GaugeMetricFamily("farm_up", "SQL answers.", 1)]
            except FarmError:
                self._families = [GaugeMetricFamily("farm_up", "SQL answers.", 0)]
            self._read_at = self._clock()
        return self._families


def _families(farm: Farm) -> Iterator[Metric]:
    from collections import Counter

    from cli.workers import replaced, state_of

    with farm.database.reading() as transaction:
        figures = transaction.metrics.figures()
        workers = transaction.fleet.workers()
        now = transaction.now()
    gone = replaced(workers)
    states = Counter(state_of(worker) for worker in workers if worker.id not in gone)
    yield from _queue_families(figures, now.timestamp())
    yield from _count_families(figures, dict(states))


def _queue_families(figures: FarmFigures, now_s: float) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    labels = ["device_type", "toolchain"]
    depth = GaugeMetricFamily("farm_queue_depth", "Jobs that wait.", labels=labels)
    oldest = GaugeMetricFamily(
        "farm_queue_oldest_seconds", "How long the oldest of them has waited.", labels=labels
    )
    running = GaugeMetricFamily("farm_jobs_running", "Jobs that a worker is at.", labels=labels)
    live = GaugeMetricFamily("farm_target_workers", "Live workers that serve the target.", labels=labels)
    stranded = GaugeMetricFamily(
        "farm_queue_stranded", "1 if jobs wait that no live worker can take.", labels=labels
    )
    for load in figures.loads:
        names = [load.slug, str(load.target.toolchain)]
        waited_s = now_s - load.oldest_since.timestamp() if load.oldest_since else 0.0
        depth.add_metric(names, load.waiting)
        oldest.add_metric(names, max(waited_s, 0.0))
        running.add_metric(names, load.running)
        live.add_metric(names, load.live_workers)
        stranded.add_metric(names, int(load.is_stranded))
    yield from (depth, oldest, running, live, stranded)


def _count_families(figures: FarmFigures, workers: dict[str, int]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

    counts = {
        ("farm_jobs", "Jobs by state.", "state"): figures.jobs,
        ("farm_workers", "Workers by state.", "state"): workers,
        ("farm_store_bytes", "Bytes that are filed, by kind.", "kind"): figures.store_bytes,
    }
    for (name, text, label), values in counts.items():
        gauge = GaugeMetricFamily(name, text, labels=[label])
        for value, count in values.items():
            gauge.add_metric([value], count)
        yield gauge
    totals = {
        ("farm_attempts", "Attempts by how they stand or ended.", "state"): figures.attempts,
        ("farm_failures", "Failed attempts by class.", "failure_class"): figures.failures,
        ("farm_cells", "Cells of submissions by what they found.", "disposition"): figures.answered,
    }
    for (name, text, label), values in totals.items():
        total = CounterMetricFamily(name, text, labels=[label])
        for value, count in values.items():
            total.add_metric([value], count)
        yield total
    yield CounterMetricFamily(
        "farm_attempts_lost", "Attempts whose worker fell silent.", figures.attempts.get("LOST", 0)
    )
    builds = SummaryMetricFamily(
        "farm_build_seconds", "Build time of filed engines.", labels=["toolchain", "precision"]
    )
    for (toolchain, precision), took in figures.builds.items():
        builds.add_metric([toolchain, precision], count_value=took.count, sum_value=took.seconds)
    yield builds
    yield SummaryMetricFamily(
        "farm_queue_seconds",
        "How long attempts waited before they were claimed.",
        count_value=figures.queued.count,
        sum_value=figures.queued.seconds,
    )
    yield CounterMetricFamily(
        "farm_timing_caches_lent", "Builds that were lent a timing cache.", figures.caches_lent
    )
    yield GaugeMetricFamily(
        "farm_timing_caches_saved_seconds", "Time that timing caches saved.", figures.saved_s
    )
