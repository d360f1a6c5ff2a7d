"""Times the layers of an engine, once everything else is timed: a profiler disturbs what it looks at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, List

from farm.domain.errors import BuildError
from farm.domain.layer_times import LayerProfile, profiles_as_json
from workers.child.benchmark import inputs_for
from workers.toolchains.toolchain import ProfilesLayers

if TYPE_CHECKING:
    from typing import Callable

    from workers.child.requests import AttemptRequest
    from workers.toolchains.toolchain import LoadedEngine

#: Enough for a median that holds still, and for the 90th percentile; every one of them is kept.
ITERATIONS = 100


def profile_engine(
    engine: LoadedEngine, request: AttemptRequest, progress: Callable[[float, str], None]
) -> None:
    """Writes the times of an engine's layers, for every shape that was asked for.

    Raises:
        BuildError: nothing can time the layers of such an engine.
    """
    if not isinstance(engine, ProfilesLayers):
        raise BuildError(
            f"the layers of an engine of {request.toolchain} can not be timed",
            hint="TensorRT, TensorRT-RTX and ONNX Runtime have profilers.",
        )
    profiles: List[LayerProfile] = []
    for position, call in enumerate(request.timed_calls):
        progress(position / len(request.timed_calls), f"layers at batch {call.batch}")
        seen = engine.profile_layers(inputs_for(engine, request, call), ITERATIONS)
        iterations = tuple(map(tuple, seen))
        if not any(iterations):
            raise BuildError(f"{engine.layer_profiler} told of no layer at batch {call.batch}")
        profiles.append(LayerProfile(call.batch, call.shapes, engine.layer_profiler, iterations))
    if request.profile_path is not None:
        request.profile_path.write_text(json.dumps(profiles_as_json(profiles)))
