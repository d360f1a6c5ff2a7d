"""Options, precisions, plan headers and messages of TensorRT, per version, without TensorRT.

The make-believe modules have the surfaces that were read from the real ones (8.6.0, 10.16.1, 11.4,
TensorRT-RTX 1.7.1; 8.5 by its documentation): names of enums and attributes, numbers that move.
"""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.errors import (
    BuildError,
    DeviceUnavailableError,
    InvalidModelError,
    InvalidSpecError,
    OutOfMemoryError,
)
from farm.domain.shapes import ShapeRange
from farm.domain.targets import DeviceType, ToolchainId
from farm.domain.toolchains import PRECISIONS, ToolchainDescription
from workers.toolchains.tensorrt import TensorRtToolchain
from workers.toolchains.trt_log import TrtLog, failure, plain_error
from workers.toolchains.trt_network import add_profiles, create_network, parse_model
from workers.toolchains.trt_options import apply_options, options_of
from workers.toolchains.trt_plan import RTX_MAGIC, TENSORRT_MAGIC, check_plan
from workers.toolchains.trt_precision import apply_precision, precisions_of

if TYPE_CHECKING:
    from pathlib import Path


def enum(**members: int) -> Any:
    """A pybind11 enum, as far as it is used."""
    return SimpleNamespace(__members__=dict(members), **members)


class Config:
    """An IBuilderConfig that remembers what is set."""

    avg_timing_iterations = 1

    def __init__(self) -> None:
        self.flags: set[int] = {TF32}
        self.pools: dict[int, int] = {}
        self.sources = 0b11001
        self.profiles: list[Any] = []

    def set_flag(self, flag: int) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: int) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: int, size: int) -> None:
        if size < 1 << 40:  # beyond it, as TensorRT does: nothing happens
            self.pools[pool] = size

    def get_memory_pool_limit(self, pool: int) -> int:
        return self.pools.get(pool, 1 << 37)

    def get_tactic_sources(self) -> int:
        return self.sources

    def set_tactic_sources(self, mask: int) -> bool:
        self.sources = mask
        return True

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile)
        return -1 if profile.bad else len(self.profiles) - 1


class NewerConfig(Config):
    builder_optimization_level = 3
    max_aux_streams = -1


TF32 = 70
POOLS = {"WORKSPACE": 0, "DLA_MANAGED_SRAM": 1, "DLA_LOCAL_DRAM": 2, "DLA_GLOBAL_DRAM": 3, "TACTIC_DRAM": 4}
SOURCES_OF_8 = {"CUBLAS": 0, "CUBLAS_LT": 1, "CUDNN": 2, "EDGE_MASK_CONVOLUTIONS": 3, "JIT_CONVOLUTIONS": 4}


def surface(version: str) -> Any:
    """A module of a version, as far as building's options go."""
    major, minor = map(int, version.split(".")[:2])
    flags = {"TF32": TF32, "DISABLE_TIMING_CACHE": 71}
    if major < 11:
        flags |= {"FP16": 72, "INT8": 73}
    if major == 10:
        flags["BF16"] = 74
    verbosities = {"LAYER_NAMES_ONLY": 0, "NONE": 1, "DETAILED": 2}
    creation = {"EXPLICIT_BATCH": 0} if major < 11 else {}
    if major == 10:
        creation["STRONGLY_TYPED"] = 1
    if major == 11:
        creation["STRONGLY_TYPED"] = 0
    severities = enum(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3, VERBOSE=4)
    return SimpleNamespace(
        __name__="tensorrt",
        __version__=version,
        IBuilderConfig=Config if (major, minor) == (8, 5) else NewerConfig,
        BuilderFlag=enum(**flags),
        ProfilingVerbosity=enum(**verbosities, **({"DEFAULT": 0, "VERBOSE": 2} if major == 8 else {})),
        MemoryPoolType=enum(**POOLS, **({"TACTIC_SHARED_MEMORY": 5} if major >= 10 else {})),
        TacticSource=enum(
            **(SOURCES_OF_8 if major < 11 else {"EDGE_MASK_CONVOLUTIONS": 0, "JIT_CONVOLUTIONS": 1})
        ),
        NetworkDefinitionCreationFlag=SimpleNamespace(**creation),
        ILogger=type("ILogger", (), {"Severity": severities, "__init__": lambda self: None}),
    )


VERSIONS = ("8.5.3.1", "8.6.0", "10.16.1.11", "11.4.0.106")


def log_for(trt: Any) -> TrtLog:
    return TrtLog(trt, f"TensorRT {trt.__version__}")


# ---------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("version", VERSIONS)
def test_every_option_can_be_applied(version: str) -> None:
    trt = surface(version)
    description = ToolchainDescription(ToolchainId("tensorrt", version), {}, options_of(trt))
    values: dict[str, Any] = {
        "int": 2,
        "bytes": "1GiB",
        "bool": False,
        "choice": "detailed",
        "signed-set": "-jit_convolutions",
    }
    chosen = description.normalise({option.name: values[option.kind] for option in description.options})
    config = trt.IBuilderConfig()
    apply_options(trt, config, chosen, log_for(trt))
    assert config.pools[POOLS["WORKSPACE"]] == 1 << 30
    assert config.profiling_verbosity == trt.ProfilingVerbosity.DETAILED
    assert trt.BuilderFlag.DISABLE_TIMING_CACHE in config.flags
    assert config.avg_timing_iterations == 2


def test_what_a_release_lacks_is_not_offered() -> None:
    names = {version: {option.name for option in options_of(surface(version))} for version in VERSIONS}
    assert names["8.6.0"] - names["8.5.3.1"] == {"builder_optimization_level", "max_aux_streams"}
    assert names["10.16.1.11"] - names["8.6.0"] == {"memory_pool_limits.TACTIC_SHARED_MEMORY"}
    assert not any("DLA" in name for name in names["11.4.0.106"])


def test_deprecated_aliases_of_verbosity_are_not_choices() -> None:
    option = next(option for option in options_of(surface("8.6.0")) if option.name == "profiling_verbosity")
    assert option.choices == ("DETAILED", "LAYER_NAMES_ONLY", "NONE")


@pytest.mark.parametrize(("version", "bit"), [("10.16.1.11", 4), ("11.4.0.106", 1)])
def test_tactic_sources_go_by_name_because_their_numbers_move(version: str, bit: int) -> None:
    trt, config = surface(version), Config()
    apply_options(trt, config, {"tactic_sources": ["-JIT_CONVOLUTIONS"]}, log_for(trt))
    assert config.sources == 0b11001 & ~(1 << bit)
    apply_options(trt, config, {"tactic_sources": ["+JIT_CONVOLUTIONS"]}, log_for(trt))
    assert config.sources == 0b11001 | 1 << bit


def test_leaving_cublas_and_cudnn_out_is_an_ordinary_option() -> None:
    trt, config = surface("8.6.0"), NewerConfig()
    apply_options(trt, config, {"tactic_sources": ["-CUBLAS", "-CUBLAS_LT", "-CUDNN"]}, log_for(trt))
    assert config.sources == 0b11000


def test_unknown_options_and_words_are_refused() -> None:
    trt, config = surface("8.5.3.1"), Config()
    with pytest.raises(InvalidSpecError, match="no builder option 'builder_optimization_level'"):
        apply_options(trt, config, {"builder_optimization_level": 2}, log_for(trt))
    with pytest.raises(InvalidSpecError, match="profiling_verbosity can not be 'LOUD'"):
        apply_options(trt, config, {"profiling_verbosity": "LOUD"}, log_for(trt))
    with pytest.raises(InvalidSpecError, match="tactic_sources can not be 'NOTHING'"):
        apply_options(trt, config, {"tactic_sources": ["-NOTHING"]}, log_for(trt))


def test_a_limit_that_is_not_taken_is_told() -> None:
    trt = surface("8.6.0")
    with pytest.raises(InvalidSpecError, match=r"refuses memory_pool_limits.WORKSPACE=2199023255552"):
        apply_options(trt, NewerConfig(), {"memory_pool_limits.WORKSPACE": 2 << 40}, log_for(trt))


# -------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize(
    ("version", "done"),
    [
        ("8.5.3.1", {"fp32", "tf32", "fp16"}),
        ("8.6.0", {"fp32", "tf32", "fp16"}),
        ("10.16.1.11", {"fp32", "tf32", "fp16", "bf16"}),
        ("11.4.0.106", {"fp32", "tf32"}),
    ],
)
def test_precisions_follow_the_release(version: str, done: set[str]) -> None:
    answers = precisions_of(surface(version), ToolchainId("tensorrt", version))
    assert set(answers) == set(PRECISIONS)
    assert {precision for precision, reason in answers.items() if not reason} == done
    assert all(version in reason for reason in answers.values() if reason)


def test_reasons_say_what_to_do() -> None:
    old = precisions_of(surface("8.6.0"), ToolchainId("tensorrt", "8.6.0"))
    new = precisions_of(surface("11.4.0.106"), ToolchainId("tensorrt", "11.4.0.106"))
    assert old["int8"] == "not supported yet by this toolchain (tensorrt 8.6.0); nearest: fp16"
    assert new["fp16"].startswith("needs typed conversion of the model, not supported yet by this toolchain")


@pytest.mark.parametrize(
    ("precision", "flags"),
    [("fp32", set()), ("tf32", {"TF32"}), ("fp16", {"TF32", "FP16"}), ("bf16", {"TF32", "BF16"})],
)
def test_flags_of_a_precision(precision: str, flags: set[str]) -> None:
    trt, config = surface("10.16.1.11"), NewerConfig()
    note = apply_precision(trt, config, precision)
    assert config.flags == {trt.BuilderFlag.__members__[flag] for flag in flags}
    assert "weakly typed" in note


def test_a_precision_that_is_not_done_is_refused_at_build_too() -> None:
    with pytest.raises(InvalidSpecError, match="fp16 is not supported by tensorrt 11"):
        apply_precision(surface("11.4.0.106"), NewerConfig(), "fp16")


# ------------------------------------------------------------------------------- description


@pytest.mark.parametrize("version", VERSIONS)
def test_description_survives_json(version: str) -> None:
    description = TensorRtToolchain(surface(version)).describe()
    assert ToolchainDescription.from_json(description.as_json()) == description
    assert description.needs_device
    assert set(description.precision_notes) == set(description.supported_precisions)


def test_which_gpus_a_release_serves() -> None:
    def gpu(capability: str) -> DeviceType:
        return DeviceType(kind=describe("8.6.0").serves, product_name="G", compute_capability=capability)

    def describe(version: str) -> ToolchainDescription:
        return TensorRtToolchain(surface(version)).describe()

    assert describe("8.6.0").id == ToolchainId("tensorrt", "8.6.0", "cu12")
    assert describe("8.5.3.1").id.variant == "cu11"
    assert describe("8.6.0").can_serve(gpu("9.0"))
    assert not describe("8.6.0").can_serve(gpu("12.0"))
    assert describe("10.16.1.11").can_serve(gpu("12.0"))


# --------------------------------------------------------------------------------------- network


@pytest.mark.parametrize(("version", "flags"), [("8.6.0", 1), ("10.16.1.11", 1), ("11.4.0.106", 0)])
def test_explicit_batch_is_asked_for_only_where_it_has_that_name(version: str, flags: int) -> None:
    trt = surface(version)
    asked = []
    builder = SimpleNamespace(create_network=lambda given: asked.append(given) or "network")
    create_network(trt, builder, log_for(trt))
    assert asked == [flags]


class Profile:
    def __init__(self, *, forgets: bool = False, bad: bool = False) -> None:
        self.shapes: dict[str, Any] = {}
        self.forgets, self.bad = forgets, bad

    def set_shape(self, name: str, low: Any, mid: Any, high: Any) -> None:
        self.shapes[name] = [low, mid, low if self.forgets else high]

    def get_shape(self, name: str) -> Any:
        return self.shapes[name]


def network_of(*inputs: Any) -> Any:
    return SimpleNamespace(num_inputs=len(inputs), get_input=lambda index: inputs[index])


def network_input(name: str, *shape: int, is_shape_tensor: bool = False) -> Any:
    return SimpleNamespace(name=name, shape=shape, is_shape_tensor=is_shape_tensor)


SPAN = ShapeRange((1, 4), (2, 4), (8, 4))


@pytest.mark.parametrize(
    ("network", "profiles", "complaint"),
    [
        (network_of(network_input("x", -1, 4)), [], "no optimization profile covers it"),
        (
            network_of(network_input("x", -1, 4), network_input("z", -1)),
            [{"x": SPAN}],
            "input 'z' is dynamic",
        ),
        (network_of(network_input("x", -1, 4)), [{"y": SPAN}], "no input 'y'"),
        (network_of(network_input("x", -1, 5)), [{"x": SPAN}], "does not fit input 'x' of shape -1x5"),
        (network_of(network_input("x", 2, is_shape_tensor=True)), [], "holds a shape"),
    ],
)
def test_profiles_must_cover_what_is_dynamic(network: Any, profiles: Any, complaint: str) -> None:
    builder = SimpleNamespace(create_optimization_profile=Profile)
    with pytest.raises(InvalidSpecError, match=complaint):
        add_profiles(builder, Config(), network, profiles, log_for(surface("8.6.0")))


@pytest.mark.parametrize("profile", [Profile(bad=True), Profile(forgets=True)])
def test_a_profile_that_tensorrt_quietly_refuses_is_told(profile: Profile) -> None:
    builder = SimpleNamespace(create_optimization_profile=lambda: profile)
    with pytest.raises(InvalidSpecError, match="refuses the"):
        add_profiles(
            builder, Config(), network_of(network_input("x", -1, 4)), [{"x": SPAN}], log_for(surface("8.6.0"))
        )


def test_static_models_need_no_profile() -> None:
    config = Config()
    add_profiles(
        SimpleNamespace(), config, network_of(network_input("x", 1, 4)), [], log_for(surface("8.6.0"))
    )
    assert not config.profiles


def test_a_refused_node_is_named_from_the_log_before_10(tmp_path: Path) -> None:
    trt = surface("8.6.0")
    log = log_for(trt)
    error = SimpleNamespace(
        code=lambda: "ErrorCode.UNSUPPORTED_NODE",
        desc=lambda: 'Assertion failed: creator && "Plugin not found"',
        node=lambda: 3,
    )

    def parse(path: str) -> bool:
        log.write("E", '[ModelImporter.cpp:726] While parsing node number 3 [NoSuchOp -> "r1"]:')
        log.write(
            "E", '[ModelImporter.cpp:728] input: "c1"\noutput: "r1"\nname: "mystery"\nop_type: "NoSuchOp"\n'
        )
        return False

    trt.OnnxParser = lambda network, logger: SimpleNamespace(
        parse_from_file=parse, num_errors=1, get_error=lambda index: error
    )
    with pytest.raises(InvalidModelError, match=r"operator NoSuchOp \(node 'mystery'\)") as caught:
        parse_model(trt, SimpleNamespace(), log, tmp_path / "m.onnx")
    assert "opset_version=17" in caught.value.hint


# ------------------------------------------------------------------------------------ plan headers


def plan(path: Path, magic: bytes, version: tuple[int, ...], flag: int = 0) -> Path:
    path.write_bytes(magic + struct.pack("<I", flag) + bytes(16) + bytes(version) + bytes(40))
    return path


@pytest.mark.parametrize(
    ("magic", "version", "flag", "running", "complaint"),
    [
        (b"ftrt", (8, 6, 1, 6), 0, (8, 6, 0), r"built by TensorRT 8\.6\.1, this is TensorRT 8\.6\.0"),
        (
            b"ftrt",
            (10, 16, 1, 11),
            0,
            (8, 5, 3, 1),
            r"built by TensorRT 10\.16\.1\.11, this is TensorRT 8\.5",
        ),
        (b"ftrt", (0, 0, 0, 0), 9, (8, 6, 0), r"built by TensorRT 8\.5 or older"),
        (b"ptrt", (0, 0, 0, 0), 9, (8, 6, 0), r"built by TensorRT 8\.5 or older"),
        (b"vtrt", (1, 7, 1, 116), 0, (8, 6, 0), r"built by TensorRT-RTX, this is TensorRT 8\.6\.0"),
        (b"PK\3\4", (0, 0, 0, 0), 0, (8, 6, 0), "is not an engine of TensorRT"),
    ],
)
def test_foreign_plans_are_told_apart(
    tmp_path: Path,
    magic: bytes,
    version: tuple[int, ...],
    flag: int,
    running: tuple[int, ...],
    complaint: str,
) -> None:
    with pytest.raises(BuildError, match=complaint):
        check_plan(plan(tmp_path / "e.plan", magic, version, flag), TENSORRT_MAGIC, running)


@pytest.mark.parametrize(
    ("magic", "version", "flag", "running"),
    [
        (b"ftrt", (8, 6, 0, 12), 0, (8, 6, 0)),
        (b"ftrt", (8, 6, 1, 6), 0, (8, 6, 1)),
        (b"ptrt", (0, 0, 0, 0), 9, (8, 5, 3, 1)),
        (b"xxxx", (0, 0, 0, 0), 9, (8, 5, 3, 1)),  # 8.5 judges its own plans
        (b"ftrt", (11, 4, 0, 300 % 256), 0, (11, 4, 0, 300)),
    ],
)
def test_plans_of_this_release_pass(
    tmp_path: Path, magic: bytes, version: tuple[int, ...], flag: int, running: tuple[int, ...]
) -> None:
    check_plan(plan(tmp_path / "e.plan", magic, version, flag), TENSORRT_MAGIC, running)


def test_rtx_tells_tensorrt_plans_and_its_own_versions(tmp_path: Path) -> None:
    check_plan(plan(tmp_path / "a", b"vtrt", (1, 7, 1, 116)), RTX_MAGIC, (1, 7, 1, 116))
    with pytest.raises(
        BuildError, match=r"built by TensorRT-RTX 1\.6\.1\.120, this is TensorRT-RTX 1\.7\.1\.116"
    ):
        check_plan(plan(tmp_path / "b", b"vtrt", (1, 6, 1, 120)), RTX_MAGIC, (1, 7, 1, 116))
    (tmp_path / "c").write_bytes(b"vtrt")
    with pytest.raises(BuildError, match="cut short"):
        check_plan(tmp_path / "c", RTX_MAGIC, (1, 7, 1, 116))


# --------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("letter", "message", "kind"),
    [
        (
            "E",
            "1: [defaultAllocator.cpp::allocate::20] Error Code 1: Cuda Runtime (out of memory)",
            OutOfMemoryError,
        ),
        ("E", "2: [a.cpp::b::3] Error Code 2: OutOfMemory (no further information)", OutOfMemoryError),
        ("W", "CUDA initialization failure with error: 35", DeviceUnavailableError),
        ("E", "6: CUDA initialization failure with error: 100", DeviceUnavailableError),
        (
            "E",
            "10: [o.cpp::c::9] Error Code 10: Internal Error (Could not find any implementation for node X.)",
            BuildError,
        ),
    ],
)
def test_the_log_decides_what_kind_of_failure_it_was(
    letter: str, message: str, kind: type[Exception]
) -> None:
    log = log_for(surface("8.6.0"))
    log.write(letter, message)
    assert type(failure(log, "could not build the engine")) is kind


def test_a_failure_quotes_the_first_errors_and_hints() -> None:
    log = log_for(surface("8.6.0"))
    for index in range(6):
        log.write(
            "E", f"4: [network.cpp::validate::{index}] Error Code 4: Internal Error (reason {min(index, 4)})"
        )
        log.write(
            "E", f"4: [network.cpp::validate::{index}] Error Code 4: Internal Error (reason {min(index, 4)})"
        )
    assert log.quoted_errors().count("reason") == 3
    log.forget()
    log.write("E", "Error Code 1: Myelin (Cannot compile 'm' for Turing (SM75): FP32 GEMM is not supported.)")
    error = failure(log, "could not build the engine")
    assert error.message.startswith("TensorRT 8.6.0 could not build the engine: Error Code 1")
    assert "8.0 or later" in error.hint


def test_a_build_ahead_of_time_does_not_blame_the_missing_device() -> None:
    log = log_for(surface("11.4.0.106"))
    log.write("E", "Error Code 1: Cuda Runtime (cudaError 35: CUDA driver version is insufficient)")
    log.write("E", "Error Code 2: Internal Error (something else)")
    assert type(failure(log, "could not build", needs_device=False)) is BuildError


def test_myelins_word_on_the_timing_cache_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    log = log_for(surface("8.6.0"))
    log.write("E", "Myelin error from unknown graph in cache. The timing cache will not be used!")
    assert not log.errors
    assert "the rest of it is used" in capsys.readouterr().err


def test_verbose_lines_are_dropped_and_others_kept(capsys: pytest.CaptureFixture[str]) -> None:
    trt = surface("8.6.0")
    log = log_for(trt)
    log.logger.log(trt.ILogger.Severity.VERBOSE, "noise")
    log.logger.log(trt.ILogger.Severity.INFO, "news\n")
    log.logger.log(trt.ILogger.Severity.ERROR, "trouble")
    assert capsys.readouterr().err == "[TRT] [I] news\n[TRT] [E] trouble\n"
    assert log.errors == ["trouble"]


def test_places_in_nvidias_sources_are_left_out() -> None:
    text = (
        "IBuilder::build: Error Code 2: Internal (no\n reason In createGraph at /_src/optimizer/m.cpp:1203)"
    )
    assert plain_error(text) == "Error Code 2: Internal (no reason)"
