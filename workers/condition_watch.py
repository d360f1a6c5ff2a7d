"""Watches a device and its host while a child works: clocks, heat, power, other processes, CPU time."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from farm.domain.comparisons import judged as judged_comparison
from farm.domain.conditions import DeviceSample, HostSample, Watched, conditions_of
from farm.domain.jobs import Phase
from farm.domain.taints import taints_of
from workers.host_samples import HostSampler
from workers.nvml_samples import THROTTLING, NvmlSampler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from farm.domain.benchmarks import Measurement
    from workers.child.requests import AttemptResult
    from workers.nvml_samples import ConditionsNvml

#: Time between two samples of a GPU, in seconds: at 20 Hz a measurement of a second has twenty of them. NVML answers
#: each question in less than a millisecond.
GAP_S = 0.05
#: While it builds: only how it is throttled is asked for then, and tactics that are being timed are left in peace.
BUILD_GAP_S = 0.25
#: And of the host: ten times a second, since a look at every thread of a child costs its CPU some time.
HOST_GAP_S = 0.1
#: An hour of samples: older ones are of a build.
_MOST_SAMPLES = int(3600 / GAP_S)
#: A driver that hangs must not keep its worker: the thread is left behind.
_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Throttling:
    """How often a device was throttled during one phase.

    Attributes:
        samples: how many were taken.
        reasons: in how many of them each reason held; only those that did.
    """

    samples: int
    reasons: Mapping[str, int]

    def __str__(self) -> str:
        """For people: `SwPowerCap in 3 of 260 samples`."""
        words = [f"{reason} in {count}" for reason, count in sorted(self.reasons.items())]
        return f"{', '.join(words) or 'none'} of {self.samples} samples"


class ConditionWatch:
    """Takes samples in a thread of its own while the block runs.

    Where NVML can not be read nothing is seen of the device, which is not the same as nothing having happened.

    Args:
        uuid: of the GPU or MIG slice; empty for a CPU.
        pid: of the root of the child's process tree.
        phase: names what is going on at the moment.
        nvml: the module `pynvml`, imported on entering if left out.
        host: looks at what the tree gets of the host's CPUs; one of its own if left out.
    """

    def __init__(
        self,
        uuid: str,
        pid: int,
        phase: Callable[[], str],
        *,
        nvml: ConditionsNvml | None = None,
        host: HostSampler | None = None,
    ) -> None:
        self._uuid = uuid
        self._phase = phase
        self._nvml = nvml
        self._device: NvmlSampler | None = None
        self._host = host or HostSampler(pid)
        self._host_due = 0.0
        self._device_samples: deque[DeviceSample] = deque(maxlen=_MOST_SAMPLES)
        self._host_samples: deque[HostSample] = deque(maxlen=_MOST_SAMPLES)
        self._told: dict[str, int] = {}
        self._reasons: dict[str, dict[str, int]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="condition-watch", daemon=True)

    def __enter__(self) -> Self:
        """Starts to watch."""
        self._device = NvmlSampler(self._uuid, self._nvml)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the watch."""
        self._over.set()
        self._thread.join(_PATIENCE_S)
        if self._device is not None and not self._thread.is_alive():
            self._device.close()

    def during(self, phase: str) -> Throttling | None:
        """How the device was throttled during a phase; none if nobody looked. Ask once the watch is over."""
        samples = self._told.get(phase, 0)
        return Throttling(samples, dict(self._reasons.get(phase, {}))) if samples else None

    @property
    def seen(self) -> Watched:
        """All that was seen. Ask once the watch is over."""
        device = self._device
        return Watched(
            device=list(self._device_samples),
            host=list(self._host_samples),
            notes=tuple(device.notes) if device else (),
            is_slice=device is not None and device.is_slice,
        )

    def judged(self, result: AttemptResult) -> AttemptResult:
        """A child's answer, each measurement with the conditions of its window and tainted by what disturbed it.

        Those that do not tell their window stay as they are. Ask once the watch is over.
        """
        seen, is_cpu = self.seen, not self._uuid
        measurements = (judged(measurement, seen, is_cpu=is_cpu) for measurement in result.measurements)
        comparisons = (judged_comparison(one, seen, is_cpu=is_cpu) for one in result.comparisons)
        return replace(result, measurements=tuple(measurements), comparisons=tuple(comparisons))

    def sample(self) -> None:
        """Takes one sample of what is due."""
        at = time.monotonic()
        if at >= self._host_due:
            self._host_samples.append(self._host.sample(at))
            self._host_due = at + 0.9 * HOST_GAP_S
        found = self._device.sample(time.monotonic(), self._host.pids) if self._device else None
        if found is None:
            return
        self._device_samples.append(found)
        if found.reasons is not None:
            phase = self._phase()
            self._told[phase] = self._told.get(phase, 0) + 1
            seen = self._reasons.setdefault(phase, {})
            for reason in THROTTLING:
                if reason in found.reasons:
                    seen[reason] = seen.get(reason, 0) + 1

    def _run(self) -> None:
        self.sample()
        looked = time.monotonic()
        while not self._over.wait(GAP_S):
            # A build may end at any moment, and what is measured next may be short.
            if time.monotonic() - looked >= 0.9 * self._gap_s():
                looked = time.monotonic()
                self.sample()
        # A window that ends with the child has a sample after it, too.
        self._host_due = 0.0
        self.sample()

    def _gap_s(self) -> float:
        if self._phase() == Phase.BUILD.value:
            return BUILD_GAP_S
        return GAP_S if self._device is not None and self._device.is_open else HOST_GAP_S


def judged(measurement: Measurement, seen: Watched, *, is_cpu: bool = False) -> Measurement:
    """A measurement with the conditions of its window, and tainted by what disturbed it."""
    if measurement.window is None:
        return measurement
    conditions = conditions_of(seen, measurement.window, inferences=_inferences(measurement))
    taints = (*measurement.taints, *taints_of(conditions, is_cpu=is_cpu))
    return replace(measurement, conditions=conditions, taints=taints)


def _inferences(measurement: Measurement) -> int | None:
    """How many were made within the window; none where it has other work in it too."""
    if measurement.flushed or measurement.streams > 1:
        return None
    return measurement.compute.count * max(measurement.batch, 1)
