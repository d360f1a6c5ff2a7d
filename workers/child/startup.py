"""What an engine takes until its first answer, and what the host holds at the most meanwhile."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Dict, Optional

from workers.child.benchmark import inputs_for
from workers.toolchains.startup import StartupSteps, forget_peak, status_bytes
from workers.toolchains.timing import TellsStartup

if TYPE_CHECKING:
    from workers.child.requests import AttemptRequest
    from workers.toolchains.toolchain import LoadedEngine

#: The step that ends with the first answer.
FIRST_INFERENCE = "first inference"


class Startup:
    """Looks on from the build to the end of the run.

    A process that has just built the engine has loaded libraries and kernels that a fresh one has still to load: which
    of both it was is told.
    """

    def __init__(self) -> None:
        self._peaks: Dict[str, int] = {}
        self._own = StartupSteps()
        self._found: Dict[str, Any] = {}

    def built(self) -> None:
        """A build has ended."""
        self._keep_peak("build")

    def begins(self) -> None:
        """Loading begins."""
        forget_peak()
        self._own.go_on()

    def loaded(self, engine: LoadedEngine, request: AttemptRequest) -> None:
        """An engine was loaded: runs its first inference, at the first of the shapes that will be timed.

        Only once, and only where some shape will be.
        """
        if self._found or request.benchmark is None or not request.timed_calls:
            return
        self._own.done("load")
        steps = engine.startup if isinstance(engine, TellsStartup) else self._own
        inputs = inputs_for(engine, request, request.timed_calls[0])
        steps.go_on()
        engine.infer(inputs)
        steps.done(FIRST_INFERENCE)
        found = steps.steps
        self._found = {
            "steps": list(found),
            "seconds": round(sum(step["seconds"] for step in found), 6),
            "batch": request.timed_calls[0].batch,
            "fresh_process": request.build is None,
        }
        for name, step in (("engine_bytes", "deserialise"), ("context_bytes", "context")):
            taken = _taken_by(step, found)
            if taken is not None:
                self._found[name] = taken

    def ended(self) -> Dict[str, Any]:
        """Everything that was seen, as JSON; empty if no first inference was."""
        self._keep_peak("run")
        return {**self._found, "host_peak_bytes": dict(self._peaks)} if self._found else {}

    def _keep_peak(self, phase: str) -> None:
        peak = status_bytes("VmHWM")
        if peak is not None:
            self._peaks[phase] = peak


def _taken_by(name: str, steps: Any) -> Optional[int]:
    """How much less memory of the device is free after a step than before it; none where nobody told."""
    for before, after in pairwise(steps):
        if after["step"] == name and "device_free_bytes" in after and "device_free_bytes" in before:
            return max(int(before["device_free_bytes"]) - int(after["device_free_bytes"]), 0)
    return None
