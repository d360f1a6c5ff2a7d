"""Builder options: what they change on a real GPU, and what is refused in which words."""

# ruff: noqa: PT017 - run where pytest is not installed

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorrt_checks.building import batches, build, loaded, options, refused, toolchain, worst
from tensorrt_checks.models import conv_net, images, reference
from tensorrt_checks.registry import check

if TYPE_CHECKING:
    from pathlib import Path

#: Seen on small nets: FP32 1e-6, FP16 3e-4 absolute, on outputs near 1.
_FP32, _FP16 = 1e-4, 5e-3


def _offered() -> set[str]:
    return {option.name for option in toolchain().describe().options}


def _built_and_right(scratch: Path, name: str, chosen: dict[str, Any], precision: str = "fp32") -> Path:
    """An engine with options, whose outputs are those of ONNX Runtime."""
    model, engine = conv_net(scratch / f"{name}.onnx"), scratch / f"{name}.plan"
    build(model, engine, [batches(1, 8, 32)], precision, builder_config=options(**chosen))
    with loaded(engine) as live:
        inputs = images(4)
        error = worst(live.infer(inputs)["y"], reference(model, inputs)["y"])
    assert error < (_FP32 if precision == "fp32" else _FP16), f"{chosen}: off by {error}"
    return engine


@check
def refittable_engines_have_weights_to_replace(scratch: Path) -> Any:
    """REFIT: the engine names its weights, and computes the same; without it there are none."""
    import tensorrt as trt

    engine = _built_and_right(scratch, "refit", {"refit": True})
    plain = _built_and_right(scratch, "not-refit", {})
    named = {}
    for path in (engine, plain):
        with loaded(path) as live:
            assert live._engine.refittable == (path is engine), f"{path.name}: {live._engine.refittable}"
            if path is engine:
                refitter = trt.Refitter(live._engine, trt.Logger())
                named[path.stem] = sorted(map(str, refitter.get_all_weights()))
                del refitter
    assert any("w1" in name for name in named["refit"]), f"refittable weights: {named}"
    return named


@check
def sparse_weights_build_and_compute_the_same(scratch: Path) -> Any:
    """SPARSE_WEIGHTS with weights of 2:4 sparsity, in FP16, where sparse tactics exist."""
    import numpy as np
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(conv_net(scratch / "sparse.onnx")))
    for tensor in model.graph.initializer:
        if tensor.name in ("w1", "w2"):
            weights = np.array(numpy_helper.to_array(tensor))
            weights.reshape(weights.shape[0], -1, 4, *weights.shape[2:])[:, :, 2:] = 0
            tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
    onnx.save(model, str(scratch / "sparse.onnx"))
    engine = scratch / "sparse.plan"
    output = build(
        scratch / "sparse.onnx",
        engine,
        [batches(1, 8, 32)],
        "fp16",
        builder_config=options(sparse_weights=True),
    )
    with loaded(engine) as live:
        error = worst(live.infer(images(4))["y"], reference(scratch / "sparse.onnx", images(4))["y"])
    assert error < _FP16, f"off by {error}"
    return {"error": error, "note": output.precision_note}


@check
def auxiliary_streams_can_be_forbidden(scratch: Path) -> Any:
    """max_aux_streams=0: one stream."""
    if "max_aux_streams" not in _offered():
        return "this release has no max_aux_streams"
    with loaded(_built_and_right(scratch, "aux", {"max_aux_streams": 0})) as live:
        streams = live._engine.num_aux_streams
    assert streams == 0, f"{streams} auxiliary streams"
    return streams


@check
def hardware_compatible_engines_run_here(scratch: Path) -> Any:
    """AMPERE_PLUS: cuBLAS and cuDNN are off anyway; the engine says its level, and runs."""
    if "hardware_compatibility_level" not in _offered():
        return "this release has no hardware_compatibility_level"
    chosen = {"hardware_compatibility_level": "AMPERE_PLUS"}
    with loaded(_built_and_right(scratch, "ampere", chosen, "fp16")) as live:
        level = str(live._engine.hardware_compatibility_level)
    assert "AMPERE_PLUS" in level, f"the engine says {level}"
    return level


@check
def direct_io_builds_where_no_reformat_is_needed(scratch: Path) -> Any:
    """DIRECT_IO with inputs and outputs as the model has them."""
    return _built_and_right(scratch, "direct", {"direct_io": True}).stat().st_size


@check
def preview_features_can_be_switched(scratch: Path) -> Any:
    """Each preview feature of the release, on and off."""
    known = {option.name: option for option in toolchain().describe().options}
    sizes = {}
    for word in known["preview_features"].choices:
        for sign in "+-":
            if sign + word == "-DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805":
                # It would have TensorRT's core ask for cuBLAS and cuDNN, which this host may not have.
                continue
            name = f"preview{sign}{word}"
            path = _built_and_right(scratch, name, {"preview_features": [sign + word]})
            sizes[sign + word] = path.stat().st_size
    return sizes


@check
def precision_constraints_and_quantization_flags_are_taken(scratch: Path) -> Any:
    """Flags of releases that have precision flags."""
    tried = []
    for chosen in (
        {"precision_constraints": "OBEY"},
        {"precision_constraints": "PREFER"},
        {"quantization_flags": ["+CALIBRATE_BEFORE_FUSION"]},
    ):
        if set(chosen) <= _offered():
            _built_and_right(scratch, "constraints", chosen, "fp16")
            tried.append(chosen)
    return tried


@check
def what_the_release_lacks_is_refused_with_the_releases_that_have_it(_scratch: Path) -> Any:
    """Options and words of later releases, by name."""
    description = toolchain().describe()
    if description.id.version_order >= (10,):
        return f"{description.id} has them"
    said: list[str] = []
    for bad, releases in (
        ({"strip_plan": True}, "strip_plan is in TensorRT 10.0 and later"),
        ({"weight_streaming": True}, "weight_streaming is in TensorRT 10.0 and later"),
        ({"max_num_tactics": 3}, "max_num_tactics is in TensorRT 10.4 and later"),
        ({"strongly_typed": True}, "strongly_typed is in TensorRT 10."),
        ({"preview_features": "+ALIASED_PLUGIN_IO_10_03"}, "is in TensorRT 10.3 and later"),
    ):
        with refused("InvalidSpecError", releases) as text:
            description.normalise(bad)
        said += text
    return said


@check
def version_compatible_engines_run_or_name_the_missing_library(scratch: Path) -> Any:
    """VERSION_COMPATIBLE wants libnvinfer_lean, which the wheels of 8.6 do not have."""
    if "version_compatible" not in _offered():
        return "this release has no version_compatible"
    try:
        _built_and_right(scratch, "compatible", {"version_compatible": True})
    except Exception as error:  # noqa: BLE001 - looked at below
        said = f"{type(error).__name__}: {error} | {getattr(error, 'hint', '')}"
        assert type(error).__name__ == "BuildError", said
        assert "libnvinfer_lean" in said, said
        assert "install tensorrt-lean of the same version" in said, said
        return said
    return "built and run: the lean runtime is here"


@check
def without_a_lean_runtime_the_plan_is_built(scratch: Path) -> Any:
    """EXCLUDE_LEAN_RUNTIME: set after VERSION_COMPATIBLE, and taken."""
    if "exclude_lean_runtime" not in _offered():
        return "this release has no exclude_lean_runtime"
    engine = scratch / "excluded.plan"
    chosen = options(version_compatible=True, exclude_lean_runtime=True)
    try:
        build(conv_net(scratch / "excluded.onnx"), engine, [batches(1, 8, 32)], builder_config=chosen)
    except Exception as error:  # noqa: BLE001 - told: whether the library is wanted here too is not known
        assert type(error).__name__ == "BuildError", repr(error)
        return f"refused: {error} | {getattr(error, 'hint', '')}"
    return engine.stat().st_size


@check
def dla_is_refused_where_there_is_none(scratch: Path) -> Any:
    """DLA on a GPU without it: an error of the request, before minutes go into a build."""
    model, plan = conv_net(scratch / "dla.onnx"), scratch / "dla.plan"
    said: list[str] = []
    for chosen in (
        {"default_device_type": "DLA"},
        {"default_device_type": "DLA", "DLA_core": 0, "gpu_fallback": True},
    ):
        with refused("InvalidSpecError", "this device has no DLA", "Leave default_device_type out") as text:
            build(model, plan, [batches(1, 1, 1)], "fp16", builder_config=options(**chosen))
        said += text
    return said


@check
def pools_of_dla_are_taken_or_told(scratch: Path) -> Any:
    """Limits for DLA on a GPU: taken without an effect, or refused by name."""
    found = {}
    for pool, size in (
        ("DLA_MANAGED_SRAM", 1 << 20),
        ("DLA_LOCAL_DRAM", 1 << 28),
        ("DLA_GLOBAL_DRAM", 1 << 28),
    ):
        name = f"memory_pool_limits.{pool}"
        try:
            _built_and_right(scratch, "pools", {name: size})
            found[pool] = "taken"
        except Exception as error:  # noqa: BLE001 - looked at below
            said = f"{type(error).__name__}: {error} | {getattr(error, 'hint', '')}"
            assert type(error).__name__ == "InvalidSpecError", said
            assert name in said, said
            found[pool] = said
    return found


@check
def other_runtimes_are_built_for_or_refused_in_words(scratch: Path) -> Any:
    """engine_capability: SAFETY and DLA_STANDALONE end with an error of the farm, if they do not build."""
    found = {}
    for chosen in (
        {"engine_capability": "SAFETY"},
        {"engine_capability": "DLA_STANDALONE", "default_device_type": "DLA"},
    ):
        word = chosen["engine_capability"]
        try:
            build(
                conv_net(scratch / f"{word}.onnx"),
                scratch / f"{word}.plan",
                [batches(1, 1, 1)],
                "fp16",
                builder_config=options(**chosen),
            )
            found[word] = "built"
        except Exception as error:  # noqa: BLE001 - looked at below
            said = f"{type(error).__name__}: {error} | {getattr(error, 'hint', '')}"
            assert type(error).__name__ in ("InvalidSpecError", "BuildError"), said
            found[word] = said
    return found


@check
def an_option_leaves_the_config_as_it_was_asked_for(_scratch: Path) -> Any:
    """Every offered option is set on a real config and read back, one by one; what is refused is told."""
    import tensorrt as trt

    from workers.toolchains.trt_log import log_of
    from workers.toolchains.trt_network import create_builder
    from workers.toolchains.trt_options import apply_options, options_of

    log = log_of(trt)
    builder = create_builder(trt, log)
    found: dict[str, str] = {}
    for option in options_of(trt):
        value: Any = {"int": 2, "bytes": 1 << 20, "bool": not option.default, "names": ["w1"]}.get(
            option.kind
        )
        if option.kind == "choice":
            value = next(word for word in option.choices if word != option.default)
        if option.kind == "signed-set":
            value = [f"-{option.choices[0]}"]
        log.forget()
        config = builder.create_builder_config()
        chosen = {option.name: value}
        if option.name == "exclude_lean_runtime":
            chosen["version_compatible"] = True
        try:
            apply_options(trt, config, chosen, log)
            found[option.name] = f"{value}: taken"
        except Exception as error:  # noqa: BLE001 - looked at below
            found[option.name] = f"{value}: {type(error).__name__}: {error}"
    refusals = {name: text for name, text in found.items() if not text.endswith("taken")}
    # A GPU without DLA may refuse what is for DLA.
    beyond = {name: text for name, text in refusals.items() if "DLA" not in name and "DLA" not in text}
    assert not beyond, f"refused: {beyond}"
    return found
