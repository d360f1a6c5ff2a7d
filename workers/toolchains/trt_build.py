"""One call of TensorRT's builder, with signs of life while it lasts."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from farm.domain.errors import OutOfMemoryError
from workers.toolchains.trt_log import TrtLog, failure

if TYPE_CHECKING:
    from pathlib import Path

    from workers.toolchains.toolchain import Progress

#: How often a build says that it is alive where the release has no progress monitor, in seconds.
_HEARTBEAT_S = 5.0
#: Least time between two messages of the progress monitor, in seconds: it can step a thousand times.
_LEAST_INTERVAL_S = 0.2


def build_plan(
    trt: Any, builder: Any, network: Any, config: Any, log: TrtLog, progress: Progress, *, needs_device: bool
) -> Any:
    """Runs the builder.

    Returns:
        The plan, as TensorRT's own memory: anything that takes bytes can read it without a copy.

    Raises:
        BuildError: the builder refused.
        OutOfMemoryError: the device or the host was too small.
        DeviceUnavailableError: there is no device, and this builder needs one.
    """
    watch = _BuildWatch(progress)
    monitor = _make_monitor(trt, watch) if hasattr(config, "progress_monitor") else None
    if monitor is not None:
        config.progress_monitor = monitor
    watch.start()
    try:
        plan = builder.build_serialized_network(network, config)
    except MemoryError as error:
        raise OutOfMemoryError(f"{log.name} ran out of the host's memory while building") from error
    finally:
        watch.stop()
    if watch.error is not None:
        raise watch.error
    if plan is None:
        raise failure(log, "could not build the engine", needs_device=needs_device)
    return plan


def write_plan(plan: Any, engine_path: Path) -> None:
    """Writes TensorRT's memory to a file without copying it first."""
    with engine_path.open("wb") as file:
        file.write(plan)


class _BuildWatch:
    """Where a build stands. Called from TensorRT's threads and from one of its own."""

    def __init__(self, progress: Progress) -> None:
        self.error: BaseException | None = None
        self._progress = progress
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._began = time.monotonic()
        self._phases: dict[str, _Phase] = {}
        self._fraction: float | None = None
        self._message = "building"
        self._told_at = 0.0
        self._thread = threading.Thread(target=self._beat, name="build-heartbeat", daemon=True)

    def start(self) -> None:
        self._tell()
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def phase_start(self, name: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._phases[name] = _Phase(parent, max(steps, 1))
            self._message = name if parent is None else f"{self._root(name)}: {name}"

    def phase_finish(self, name: str) -> None:
        with self._lock:
            self._phases.pop(name, None)

    def step(self, name: str, step: int) -> bool:
        """Takes one step of a phase; whether the build is to go on."""
        with self._lock:
            phase = self._phases.get(name)
            if phase is None:
                return self.error is None
            phase.done = step + 1
            share = self._share(name)
            # TensorRT opens phases one after the other, so a share can fall: never tell less than before.
            self._fraction = max(share, self._fraction or 0.0)
            worth_telling = time.monotonic() - self._told_at >= _LEAST_INTERVAL_S
        if worth_telling:
            self._tell()
        return self.error is None

    def _root(self, name: str) -> str:
        parent = self._phases[name].parent if name in self._phases else None
        return name if parent is None or parent not in self._phases else self._root(parent)

    def _share(self, name: str) -> float:
        """The share of the whole build that is done, seen from one phase up to its root."""
        phase: _Phase | None = self._phases[name]
        inner = 0.0
        while phase is not None:
            inner = min(1.0, (phase.done + inner) / phase.steps)
            phase = self._phases.get(phase.parent) if phase.parent else None
        return inner

    def _beat(self) -> None:
        while not self._done.wait(_HEARTBEAT_S):
            self._tell()

    def _tell(self) -> None:
        with self._lock:
            fraction, message = self._fraction, self._message
            self._told_at = time.monotonic()
            elapsed = self._told_at - self._began
        try:
            self._progress(fraction, f"{message}, {elapsed:.0f} s")
        except Exception as error:  # noqa: BLE001 - must not travel through TensorRT's C++ frames
            self.error = error


class _Phase:
    """One phase of a build: how many steps it has, and how many are done."""

    def __init__(self, parent: str | None, steps: int) -> None:
        self.parent = parent
        self.steps = steps
        self.done = 0


def _make_monitor(trt: Any, watch: _BuildWatch) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # the base is only known at run time
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)  # pybind11 asks for the explicit call

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            watch.phase_start(phase_name, parent_phase, num_steps)

        def phase_finish(self, phase_name: str) -> None:
            watch.phase_finish(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return watch.step(phase_name, step)

    return Monitor()
