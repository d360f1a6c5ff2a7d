"""The canary of a worker's device: timed when the worker starts, and now and then while it is idle."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from farm.domain.benchmarks import BenchmarkSpec
from farm.domain.canaries import Canary, Verdict
from farm.domain.errors import DeviceUnavailableError, FarmError, UnsupportedTargetError
from farm.domain.taints import FOREIGN, STARVED, kind_of
from farm.domain.targets import DeviceKind
from farm.log_repeats import REPEATS
from farm.logs import fields
from farm.services.canaries import file_canary, verdict_of
from workers.canary_engine import CanaryEngine
from workers.confinement import make_private, remove_folder
from workers.device_lock import DeviceLock
from workers.workplace import StoppedError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection

    from farm.domain.specs import BuildSpec
    from farm.services.canaries import FiledCanary
    from workers.canary_engine import TimedCanary
    from workers.workplace import Workplace

_log = logging.getLogger(__name__)
#: Half a second of warm-up: the clocks of a GPU rise within some hundred milliseconds.
BENCHMARK = BenchmarkSpec(
    warmup_ms=500, duration_ms=500, max_duration_ms=3000, method="cuda-graph-compute", precision_percent=1.0
)
#: What speaks against the device must be seen so many times in a row.
TRIES = 3
TRY_GAP_S = 5.0
#: Where the device was held by somebody else, or the farm away.
_AGAIN_S = 60.0
_POLL_S = 1.0
#: What disturbs a canary from outside; a device that is slowed down for its heat is what canaries look for.
FROM_OUTSIDE = frozenset({FOREIGN, STARVED, "unsettled"})


def wants_canary(place: Workplace) -> bool:
    """Whether a worker times canaries: as it is told, else on the GPUs of a fleet."""
    settings = place.farm.settings
    if settings.canary == "auto":
        return place.device.device_type.kind is DeviceKind.GPU and not settings.is_embedded
    return settings.canary != "off"


class CanaryKeeper:
    """Times the canary of one device.

    Args:
        place: what the worker works with.
        is_busy: whether an attempt is running.
        drain: has the worker take nothing new, for a reason.
        benchmark: how to time it.
        gap_s: how long to wait before what speaks against the device is timed again, in seconds.
        disturbing: kinds of taints that are none of the device's doing.
    """

    def __init__(
        self,
        place: Workplace,
        is_busy: Callable[[], bool],
        drain: Callable[[str], None],
        *,
        benchmark: BenchmarkSpec = BENCHMARK,
        gap_s: float = TRY_GAP_S,
        disturbing: Collection[str] = FROM_OUTSIDE,
    ) -> None:
        self._place = place
        self._farm = place.farm
        self._is_busy = is_busy
        self._drain = drain
        self._gap_s = gap_s
        self._disturbing = disturbing
        self._folder = self._farm.settings.scratch / f"canary.{place.worker_id}"
        self._engine = CanaryEngine(place, self._folder, benchmark)

    def run(self, stopping: threading.Event) -> None:
        """Times it at once and at intervals, until the worker stops."""
        if not wants_canary(self._place):
            return
        due = 0.0
        while not stopping.is_set():
            if time.monotonic() >= due and not self._is_busy():
                due = time.monotonic() + self._look()
            stopping.wait(_POLL_S)

    def _look(self) -> float:
        """Times it once; in how many seconds again."""
        try:
            self.sing()
        except StoppedError:
            return 0.0
        except DeviceUnavailableError:
            return _AGAIN_S
        except UnsupportedTargetError as error:
            _log.info("no canary: %s", error)
        except (FarmError, OSError) as error:
            _log.warning("the canary could not be timed: %s", error, extra=REPEATS)
            return _AGAIN_S
        except Exception:  # noqa: BLE001 - a bug must not end the worker's other duties
            _log.exception("a bug of the farm ended the canary")
        return self._farm.settings.canary_every_h * 3600

    def sing(self) -> FiledCanary:
        """Times the canary and files it; marks the device if it drifted, and drains the worker if it is told to.

        Raises:
            DeviceUnavailableError: somebody else holds the device now.
            UnsupportedTargetError: no toolchain here serves the device.
            ChildFailedError: the engine can not be built or run.
            StoppedError: the worker stops.
            FarmError: the database or the store is away.
        """
        settings, device = self._farm.settings, self._place.device
        spec = self._engine.spec()
        with DeviceLock(device.uuid, folder=settings.locks, purpose="engine-farm canary") as lock:
            remove_folder(self._folder)
            make_private(self._folder)
            try:
                found = self._timed_until_sure(spec, lock)
            finally:
                remove_folder(self._folder)
        self._tell(found)
        if found.canary.verdict is Verdict.DRIFTED and settings.canary == "drain":
            self._drain(f"its device has drifted: {found.canary.reason}")
        return found

    def _timed_until_sure(self, spec: BuildSpec, lock: DeviceLock) -> FiledCanary:
        database = self._farm.database
        for left in reversed(range(TRIES)):
            timed = self._engine.timed(spec, lock)
            disturbances = [t for t in timed.measurement.taints if kind_of(t) in self._disturbing]
            canary = self._canary(timed)
            verdict, reason = verdict_of(database, canary, disturbances)
            if verdict in (Verdict.GOOD, Verdict.LEARNING) or not left:
                return file_canary(database, canary, disturbances)
            _log.info("the canary is timed again: %s", reason)
            if self._place.stopping.wait(self._gap_s):
                break
        raise StoppedError

    def _canary(self, timed: TimedCanary) -> Canary:
        device, measurement = self._place.device, timed.measurement
        return Canary(
            device_uuid=device.uuid,
            toolchain=timed.toolchain,
            engine=timed.digest,
            host=device.host,
            driver_version=device.driver_version,
            worker_id=self._place.worker_id,
            median_ms=measurement.compute.median_ms,
            interval_ms=measurement.interval_ms,
            conditions={
                **measurement.conditions,
                "method": str(measurement.method),
                "taints": list(measurement.taints),
                "signed": timed.signed.as_json(),
            },
        )

    def _tell(self, found: FiledCanary) -> None:
        canary = found.canary
        told = fields("canary", verdict=canary.verdict.value, median_ms=canary.median_ms)
        if canary.verdict is Verdict.DRIFTED:
            _log.error(
                "%s has drifted: %s; %d run(s) since its last good canary are in doubt",
                canary.device_uuid,
                canary.reason,
                found.flagged_runs,
                extra=told,
            )
            return
        again = ": the device is trusted again" if found.is_trusted_again else ""
        _log.info("canary %s, %.4g ms%s", canary.verdict.value, canary.median_ms, again, extra=told)
