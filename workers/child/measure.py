"""Warm up, run timed iterations, summarise."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from farm.domain.benchmarks import BenchmarkSpec, Measurement, summarise

if TYPE_CHECKING:
    from typing import Callable

    from numpy.typing import NDArray

    from farm.domain.shapes import Shape
    from workers.toolchains.toolchain import TimedSession


def measure(
    session: TimedSession,
    spec: BenchmarkSpec,
    batch: int,
    shapes: Mapping[str, Shape],
    progress: Callable[[float, str], None],
) -> tuple[Measurement, NDArray[np.float64]]:
    """One shape's figures, and the raw samples behind them.

    Returns:
        The measurement, and samples of shape `(iterations, 3)`: h2d, compute and d2h in milliseconds.
    """
    label = f"batch {batch}{' graph' if session.is_graph else ''}"
    _warm_up(session, spec)
    samples = _samples(session, spec, lambda share: progress(share, label))
    burst = max(spec.min_iterations, min(len(samples), spec.max_iterations))
    seconds = session.burst(burst)
    h2d, compute, d2h = samples.T
    has_transfers = session.has_transfers
    return (
        Measurement(
            batch=batch,
            shapes=shapes,
            compute=summarise(compute),
            latency=summarise(h2d + compute + d2h),
            throughput_per_s=max(batch, 1) * burst / seconds,
            h2d=summarise(h2d) if has_transfers else None,
            d2h=summarise(d2h) if has_transfers else None,
            graph=session.is_graph,
        ),
        samples,
    )


def _warm_up(session: TimedSession, spec: BenchmarkSpec) -> None:
    end = time.perf_counter() + spec.warmup_ms / 1000
    session.iterate()
    while time.perf_counter() < end:
        session.iterate()


def _samples(
    session: TimedSession, spec: BenchmarkSpec, progress: Callable[[float], None]
) -> NDArray[np.float64]:
    """Iterations until both the least count and the least duration are reached."""
    samples: list[Any] = []
    begin = time.perf_counter()
    duration_s = spec.duration_ms / 1000
    while len(samples) < spec.max_iterations:
        elapsed = time.perf_counter() - begin
        if elapsed >= duration_s and len(samples) >= spec.min_iterations:
            break
        samples.append(session.iterate())
        progress(min(elapsed / duration_s, len(samples) / spec.min_iterations, 1.0))
    return np.asarray(samples, dtype=np.float64).reshape(len(samples), 3)
