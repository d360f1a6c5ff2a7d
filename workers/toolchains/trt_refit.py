"""Replaces the weights of an engine that is there: seconds, where a build takes minutes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from farm.domain.errors import BuildError
from workers.arrays import read_arrays
from workers.toolchains.cuda_engine import create_runtime, device_memory_bytes
from workers.toolchains.toolchain import REFIT_WEIGHTS, BuildInput, BuildOutput, Progress
from workers.toolchains.trt_build import write_plan
from workers.toolchains.trt_layers import write_layers
from workers.toolchains.trt_log import TrtLog, failure

if TYPE_CHECKING:
    from pathlib import Path

#: So many names are told of many.
_MOST_NAMED = 5
_FULL_BUILD = "The full build beside the refit does without it."


def refit_engine(trt: Any, log: TrtLog, build: BuildInput, progress: Progress) -> BuildOutput:
    """Writes the engine at `refit_path` with the weights beside it.

    From 10.0 on TensorRT's parser knows what it made of the model's weights; up to 8.6 they are set by their names,
    as they are in the model, and the comparison with the reference tells whether the parser had changed one.

    Raises:
        BuildError: the engine is not refittable, has weights that the model does not name, or can not be loaded.
    """
    assert build.refit_path is not None  # noqa: S101 - the caller asked for a refit
    log.forget()
    progress(0.1, "loading the engine")
    runtime = create_runtime(trt, log)
    engine = runtime.deserialize_cuda_engine(build.refit_path.read_bytes())
    if engine is None:
        raise failure(log, "could not load the engine whose weights are to be replaced", needs_device=True)
    try:
        refitter = trt.Refitter(engine, log.logger)
    except TypeError as error:  # pybind11's word for a null pointer
        raise _not_refittable(log.quoted_errors()) from error
    progress(0.4, "setting weights")
    names = list(refitter.get_all_weights())
    if not names:
        raise _not_refittable(log.quoted_errors())
    if hasattr(trt, "OnnxParserRefitter"):
        how, _held = _by_the_parser(trt, log, refitter, build.model_path), []
    else:
        how = "by their names"
        # TensorRT keeps pointers to them until the refit is done.
        _held = _set_by_their_names(log, refitter, names, build.refit_path.with_name(REFIT_WEIGHTS))
    missing = list(refitter.get_missing_weights())
    if missing:
        raise BuildError(
            f"the engine wants {len(missing)} more weights: {_listed(missing)}",
            hint=f"TensorRT made them of others while it built. {_FULL_BUILD}",
        )
    progress(0.7, "refitting")
    if not refitter.refit_cuda_engine():
        raise failure(log, "could not replace the engine's weights", needs_device=True)
    plan = engine.serialize()
    write_plan(plan, build.engine_path)
    if build.layers_path is not None:
        write_layers(trt, engine, build.layers_path)
    progress(1.0, "refitted")
    return BuildOutput(
        precision_note=f"{len(names)} weights replaced {how}",
        layers=int(engine.num_layers),
        device_memory_bytes=device_memory_bytes(engine),
        details={"plan_bytes": plan.nbytes, "refitted_weights": len(names)},
    )


def _not_refittable(said: str) -> BuildError:
    return BuildError(
        "the engine has no weights that can be replaced" + (f": {said}" if said else ""),
        hint=f"It was built without REFIT: --set refit=true. {_FULL_BUILD}",
    )


def _by_the_parser(trt: Any, log: TrtLog, refitter: Any, model_path: Path) -> str:
    parser = trt.OnnxParserRefitter(refitter, log.logger)
    if parser.refit_from_file(str(model_path)):
        return "by OnnxParserRefitter"
    said = "; ".join(parser.get_error(at).desc() for at in range(parser.num_errors))
    raise BuildError(f"the parser can not refit the engine: {said or 'it gives no reason'}", hint=_FULL_BUILD)


def _set_by_their_names(log: TrtLog, refitter: Any, names: Sequence[str], weights_path: Path) -> list[Any]:
    weights = read_arrays(weights_path)
    unknown = [name for name in names if name not in weights]
    if unknown:
        raise BuildError(
            f"the model has no weights of {len(unknown)} of the engine's {len(names)} names: {_listed(unknown)}",
            hint=f"TensorRT made them of others while it built. {_FULL_BUILD}",
        )
    arrays = [np.ascontiguousarray(weights[name]) for name in names]
    for name, array in zip(names, arrays):
        taken = False
        with contextlib.suppress(TypeError, ValueError):
            taken = refitter.set_named_weights(name, array)
        if not taken:
            raise failure(
                log, f"does not take weights {name!r} ({array.dtype} x {array.size})", needs_device=True
            )
    return arrays


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(map(repr, names[:_MOST_NAMED])) + more
