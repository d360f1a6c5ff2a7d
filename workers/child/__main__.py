"""`PYTHON -m workers.child REQUEST.json RESULT.json`: reads a request, leaves a result.

A missing result, a signal or a deadline is itself an outcome, which the supervisor classifies.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from farm.domain.errors import BuildError, FarmError, OutOfMemoryError
from farm.domain.jobs import Failure, Phase
from workers.child.events import EventStream
from workers.child.merge_request import merge_request_from_json
from workers.child.reference_request import reference_request_from_json
from workers.child.requests import (
    AttemptResult,
    attempt_request_from_json,
    result_as_json,
    write_json,
)

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Does what the request says; the exit code is 0 whenever there is a result."""
    request_path, result_path = map(Path, arguments)
    request = json.loads(request_path.read_text())
    if not (request.get("benchmark") or {}).get("nsys"):
        # A profiler starts it from a thread that may end before it; the guardian above both ends all that is left.
        _die_with_the_parent()
    events = EventStream.taking_over_stdout()
    try:
        answer = _answer(request, events)
    except FarmError as error:
        answer = _refusal(error, events.phase)
    except MemoryError:
        out = OutOfMemoryError("the host ran out of memory", hint="Build on a host with more memory.")
        answer = _refusal(out, events.phase)
    except Exception as error:  # noqa: BLE001 - whatever a toolchain throws is a failed attempt, with its trace in the log
        traceback.print_exc()
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        wrapped = BuildError(
            f"{type(error).__name__} at {where}: {error}".splitlines()[0],
            hint="This was not expected: the log has the whole trace.",
        )
        answer = _refusal(wrapped, events.phase)
    write_json(result_path, answer)
    return 0


def _answer(request: dict[str, Any], events: EventStream) -> dict[str, Any]:
    operation = request["operation"]
    if operation == "probe":
        from workers.child.probe import probe

        return {"failure": None, **probe()}
    if operation == "reference":
        from workers.child.reference import compute_reference

        wanted = reference_request_from_json(request)
        if wanted.in_doubles:
            from workers.conversion.doubles import open_in_doubles

            return {"failure": None, "reference": compute_reference(wanted, open_in_doubles)}
        return {"failure": None, "reference": compute_reference(wanted)}
    if operation == "metrics":
        from workers.child.metrics_request import MetricsRequest
        from workers.child.user_metrics import compute_metrics

        events.enter(Phase.VERIFY, "computing metrics")
        return {"failure": None, "metrics": compute_metrics(MetricsRequest.from_json(request))}
    if operation == "convert":
        from workers.conversion.convert import convert_model
        from workers.conversion.request import conversion_request_from_json

        events.enter(Phase.PREPARE, "converting the model")
        return {
            "failure": None,
            **vars(convert_model(conversion_request_from_json(request), events.progress)),
        }
    if operation == "mark-layers":
        from workers.conversion.marking import mark_layers
        from workers.conversion.marking_request import MarkRequest

        events.enter(Phase.PREPARE, "marking layers")
        return {"failure": None, "tensors": mark_layers(MarkRequest.from_json(request), events.progress)}
    if operation == "sensitivity":
        from workers.conversion.sensitivity import SensitivityRequest, compare_layers

        events.enter(Phase.PREPARE, "comparing layers")
        layers = compare_layers(SensitivityRequest.from_json(request), events.progress)
        return {"failure": None, "layers": [layer.as_json() for layer in layers]}
    if operation == "weights":
        from workers.conversion.weights import WeightsRequest, extract_weights

        events.enter(Phase.PREPARE, "reading the weights")
        return {"failure": None, "weights": extract_weights(WeightsRequest.from_json(request))}
    if operation == "merge-caches":
        from workers.child.merge_caches import merge_caches

        return {"failure": None, **merge_caches(merge_request_from_json(request))}
    if operation == "attempt":
        from workers.child.attempt import run_attempt

        return result_as_json(run_attempt(attempt_request_from_json(request), events))
    raise BuildError(f"unknown operation {operation!r}")


def _refusal(error: FarmError, phase: str) -> dict[str, Any]:
    return result_as_json(AttemptResult(failure=Failure.of(error, phase)))


def _die_with_the_parent() -> None:
    """A child never outlives its supervisor, however that one ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # One that ended while this interpreter was starting sends no signal: nobody reads the events any more.
    events = select.poll()
    events.register(1, 0)
    if any(state & select.POLLERR for _, state in events.poll(0)):
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
