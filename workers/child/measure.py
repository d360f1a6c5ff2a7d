"""Warm up, run timed blocks of iterations, summarise."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from farm.domain.benchmarks import BenchmarkSpec, Measurement
from farm.domain.intervals import half_width_percent, median_interval
from farm.domain.latencies import summarise
from workers.child.blocks import Blocks
from workers.toolchains.timing import method_of

if TYPE_CHECKING:
    from typing import Callable

    from numpy.typing import NDArray

    from farm.domain.shapes import Shape
    from workers.toolchains.toolchain import TimedSession

#: How long launches back to back are timed for the throughput, in seconds, if the benchmark is not shorter.
_BURST_S = 0.15
#: And how many there are at the least.
_LEAST_BURST = 3
#: By how much the last third of a run may be slower or faster than the first before it counts as drift, as a multiple
#: of the precision that is asked for: 1 % by default. And only if the intervals of both thirds do not overlap, which
#: chance alone brings about in fewer than one run of a hundred.
_DRIFT_PRECISIONS = 2.0


def measure(
    session: TimedSession,
    spec: BenchmarkSpec,
    batch: int,
    shapes: Mapping[str, Shape],
    progress: Callable[[float, str], None],
    *,
    is_warm: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Measurement, NDArray[np.float64]]:
    """One shape's figures by one method, and the raw samples behind them.

    Args:
        session: what is timed.
        spec: how.
        batch: the batch size that it stands for.
        shapes: every input's shape.
        progress: is told a share and what goes on.
        is_warm: whether the device has just run the same shape another way.
        clock: the host's, in seconds; whoever watches the device must read the same one.

    Returns:
        The measurement, and samples of shape `(iterations, 3)`: h2d, compute and d2h in milliseconds.
    """
    label = f"batch {batch} {method_of(session)}"
    progress(0.0, f"{label}: warming up")
    blocks = Blocks(session, spec, clock)
    blocks.warm_up(is_warm=is_warm)
    while True:
        blocks.run_block()
        progress(blocks.share, label)
        if blocks.is_done:
            break
    return measurement_of(blocks, spec, batch, shapes), blocks.samples


def measurement_of(
    blocks: Blocks, spec: BenchmarkSpec, batch: int, shapes: Mapping[str, Shape]
) -> Measurement:
    """The figures of blocks that have been run; runs a burst more for the throughput."""
    session, samples = blocks.session, blocks.samples
    h2d, compute, d2h = samples.T
    interval = blocks.interval()
    median = float(np.median(compute))
    half = None if interval is None else half_width_percent(interval, median)
    drift, is_sure = drift_percent([block[:, 1] for block in blocks.blocks])
    method = method_of(session)
    # `method.transfers` says what was asked for: a CPU has none to leave out.
    has_transfers = session.has_transfers and method.transfers
    return Measurement(
        batch=batch,
        shapes=shapes,
        compute=summarise(compute),
        latency=summarise(h2d + compute + d2h),
        throughput_per_s=max(batch, 1) * _rate(blocks, spec, compute),
        h2d=summarise(h2d) if has_transfers else None,
        d2h=summarise(d2h) if has_transfers else None,
        graph=method.graph,
        transfers=method.transfers,
        streams=method.streams,
        flushed=method.flushed,
        interval_ms=interval,
        settled=None if spec.takes_any_interval else half is not None and half <= spec.half_width_percent,
        drift_percent=drift,
        warmup_s=blocks.warmup_s,
        blocks=len(blocks.blocks),
        window=None if blocks.begin is None or blocks.end is None else (blocks.begin, blocks.end),
        taints=()
        if spec.takes_any_interval
        else taints_of(half, drift if is_sure else None, spec.half_width_percent),
    )


def drift_percent(blocks_ms: Sequence[NDArray[np.float64]]) -> Tuple[Optional[float], bool]:
    """By how much the median of the last third of the blocks is above that of the first, in percent.

    Returns:
        The drift, none of fewer than six blocks; and whether it is beyond what the noise explains.
    """
    third = len(blocks_ms) // 3
    first, last = blocks_ms[:third], blocks_ms[len(blocks_ms) - third :]
    before, after = median_interval(first), median_interval(last)
    if before is None or after is None:
        return None, False
    median = float(np.median(np.concatenate(first)))
    drift = 100 * (float(np.median(np.concatenate(last))) - median) / median if median else 0.0
    return drift, before[1] < after[0] or after[1] < before[0]


def taints_of(half: Optional[float], drift: Optional[float], precision_percent: float) -> Tuple[str, ...]:
    """Why a measurement's own samples say that it does not compare.

    Args:
        half: the half-width of its interval in percent; none where there is no interval.
        drift: by how many percent its end is slower than its begin; none where that is not told or may be noise.
        precision_percent: what the half-width was to be.
    """
    found: List[str] = []
    if half is None:
        found.append("unsettled: too few iterations for an interval")
    elif half > precision_percent:
        found.append(
            f"unsettled: the 95 % interval of the median is ±{_percent(half)} %, wider than ±{precision_percent:g} %"
        )
    if drift is not None and abs(drift) > _DRIFT_PRECISIONS * precision_percent:
        found.append(
            f"drift: the last third was {_percent(abs(drift))} % {'slower' if drift > 0 else 'faster'} than the first"
        )
    return tuple(found)


def _percent(value: float) -> str:
    """Two digits, and no exponent: a stalled host makes thousands of percent."""
    return f"{value:.2g}" if value < 99.5 else f"{value:,.0f}"


def _rate(blocks: Blocks, spec: BenchmarkSpec, compute_ms: NDArray[np.float64]) -> float:
    """Inferences per second of the host's clock."""
    if method_of(blocks.session).flushed:
        # Back to back, the time would be that of the flushes.
        return float(1000 / compute_ms.mean())
    each_s = blocks.elapsed_s / blocks.count
    wanted_s = min(_BURST_S, spec.duration_ms / 1000)
    count = round(wanted_s / each_s) if each_s > 0 else spec.max_iterations
    count = min(max(count, _LEAST_BURST), spec.max_iterations)
    return count / blocks.session.burst(count)
