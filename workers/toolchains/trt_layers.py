"""What a finished TensorRT engine tells of itself: its memory, and its layers by the engine inspector."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from farm.domain.errors import FarmError
from workers.toolchains.cuda_engine import create_runtime, device_memory_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from workers.toolchains.trt_log import TrtLog


def engine_facts(trt: Any, log: TrtLog, plan: Any, layers_path: Path | None) -> dict[str, Any]:
    """Fields of `BuildOutput`; none if the engine can not be loaded, which `load` reports.

    Args:
        trt: the module.
        log: its log.
        plan: the serialized engine.
        layers_path: where to write what the inspector says; none if nobody wants to know.
    """
    log.forget()
    try:
        runtime = create_runtime(trt, log)
    except FarmError:
        return {}
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        return {}
    if layers_path is not None:
        write_layers(trt, engine, layers_path)
    return {"device_memory_bytes": device_memory_bytes(engine), "layers": int(engine.num_layers)}


def write_layers(trt: Any, engine: Any, path: Path) -> None:
    """Writes the inspector's text as it is: it need not be JSON that everybody reads.

    An engine is worth having without it, so whatever goes wrong is said in the log and nothing more.
    """
    try:
        inspector = engine.create_engine_inspector()
        text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        if not text:
            _say("the engine inspector says nothing of this engine")
            return
        # Names that are no Unicode came as lone surrogates, or not at all.
        path.write_bytes(text.encode("utf-8", "replace"))
    except Exception as error:  # noqa: BLE001 - see above; pybind raises what it likes
        _say(f"no layer information: {type(error).__name__}: {error}")


def _say(text: str) -> None:
    sys.stderr.write(f"[farm] {text}\n")
