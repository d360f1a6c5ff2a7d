"""A line for trtexec asks for what the options of `farm submit` do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.benchmark_options import benchmark_of
from cli.build_request import Wish
from cli.submission import options_as_wish
from cli.submit import submit
from cli.trtexec import translate_line
from cli.trtexec_wish import with_trtexec
from farm.services.plan import plan_builds
from tests.factories import a_device_type, a_model, a_toolchain
from tests.fakes import InMemoryDatabase
from tests.unit.trt.surface import surface
from workers.toolchains.trt_options import options_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.services.plan import Plan

MODEL = a_model()
PRECISIONS = {
    "": "tf32",
    "--noTF32": "fp32",
    "--fp16": "fp16",
    "--bf16": "bf16",
    "--best": "best",
}
SHAPES = {
    ("--optShapes=input:4x3x8x8",): ("--opt-shapes", "input:4x3x8x8"),
    (
        "--minShapes=input:1x3x8x8",
        "--optShapes=input:4x3x8x8",
        "--maxShapes=input:8x3x8x8",
        "--shapes=input:2x3x8x8",
    ): (
        *("--min-shapes", "input:1x3x8x8", "--opt-shapes", "input:4x3x8x8"),
        *("--max-shapes", "input:8x3x8x8", "--batch", "2"),
    ),
    ("--shapes=input:8x3x8x8",): ("--opt-shapes", "input:8x3x8x8", "--batch", "8"),
    (
        *("--profile=0", "--optShapes=input:1x3x8x8"),
        *("--profile=1", "--optShapes=input:8x3x8x8"),
    ): ("--opt-shapes", "input:1x3x8x8", "--opt-shapes", "input:8x3x8x8"),
}
#: Flags that go with any other here, and the value of `--set` that says the same.
OPTIONS = {
    "--builderOptimizationLevel=4": "builder_optimization_level=4",
    "--avgTiming=8": "avg_timing_iterations=8",
    "--maxAuxStreams=0": "max_aux_streams=0",
    "--maxTactics=5": "max_num_tactics=5",
    "--tilingOptimizationLevel=2": "tiling_optimization_level=moderate",
    "--l2LimitForTiling=1048576": "l2_limit_for_tiling=1MiB",
    "--profilingVerbosity=detailed": "profiling_verbosity=detailed",
    "--hardwareCompatibilityLevel=ampere+": "hardware_compatibility_level=ampere_plus",
    "--runtimePlatform=WindowsAMD64": "runtime_platform=WINDOWS_AMD64",
    "--tacticSources=-CUDNN,+CUBLASLT": "tactic_sources=+CUBLAS_LT,-CUDNN",
    "--preview=+aliasedPluginIO1003": "preview_features=ALIASED_PLUGIN_IO_10_03",
    "--memPoolSize=workspace:1024": "memory_pool_limits.WORKSPACE=1GiB",
    "--sparsity=enable": "sparse_weights=true",
    "--directIO": "direct_io=on",
    "--vc": "version_compatible=true",
    "--noBuilderCache": "timing_cache=false",
    "--noCompilationCache": "disable_compilation_cache=true",
    "--distributiveIndependence": "distributive_independence=true",
    "--precisionConstraints=prefer": "precision_constraints=PREFER",
}
NEEDLESS = (
    "--saveEngine=a.plan",
    "--verbose",
    "--useCudaGraph",
    "--iterations=10",
    "--infStreams=1",
    "--device=0",
)


def parsed(words: Sequence[str]) -> dict[str, Any]:
    """The command line's options under the names of a spec file."""
    return options_as_wish(submit.make_context("submit", list(words)).params)


def planned(wish: Wish) -> Plan:
    database = InMemoryDatabase()
    toolchain = a_toolchain(version="10.16.1.11", options=options_of(surface("10.16.1.11")))
    with database.transaction() as transaction:
        transaction.fleet.describe([a_device_type()], [toolchain])
    with database.reading() as transaction:
        return plan_builds(transaction, MODEL, wish.build_request(None, skip_unsupported=False))


def from_line(line: str, *words: str) -> Wish:
    return with_trtexec(click.Context(submit), Wish(), line, parsed(words))


@given(
    precision=st.sampled_from(list(PRECISIONS)),
    shapes=st.sampled_from(list(SHAPES)),
    options=st.sets(st.sampled_from(list(OPTIONS)), max_size=6),
    needless=st.sets(st.sampled_from(NEEDLESS)),
    random=st.randoms(use_true_random=False),
)
def test_a_line_gives_the_same_specs_as_the_options_written_by_hand(
    precision: str, shapes: tuple[str, ...], options: set[str], needless: set[str], random: Any
) -> None:
    flags = sorted(options) + sorted(needless) + ([precision] if precision else [])
    random.shuffle(flags)
    # What is for a profile stays in its order, wherever the others stand.
    at = random.randint(0, len(flags))
    line = " ".join(["trtexec", *flags[:at], *shapes, *flags[at:]])
    words = ["--precision", PRECISIONS[precision], *SHAPES[shapes]]
    for flag in sorted(options):
        words += ["--set", OPTIONS[flag]]
    translated, written = planned(from_line(line)), planned(Wish().overridden_by(parsed(words)))
    assert [cell.spec for cell in translated.cells] == [cell.spec for cell in written.cells]
    assert translated.batches == written.batches


def test_options_win_over_the_line_one_by_one() -> None:
    line = "--fp16 --builderOptimizationLevel=1 --directIO --optShapes=input:4x3x8x8 --duration=2 --warmUp=50"
    wish = from_line(
        line, "--precision", "bf16", "--set", "builder_optimization_level=5", "--duration-ms", "7"
    )
    (cell,) = planned(wish).cells
    assert cell.spec.precision == "bf16"
    assert cell.spec.builder_config == {"builder_optimization_level": 5, "direct_io": True}
    assert (wish.values["duration_ms"], wish.values["warmup_ms"]) == (7, 50)


def test_how_it_is_timed_is_taken_over() -> None:
    benchmark = benchmark_of(from_line("--infStreams=4 --iterations=100 --duration=0.5"))
    assert (benchmark.streams, benchmark.min_iterations, benchmark.duration_ms) == ((4,), 100, 500)
    assert benchmark_of(from_line("--iterations=10")).min_iterations == 20


def test_the_line_wins_over_the_spec_file() -> None:
    spec = Wish({"precision": ("fp16",), "batch": ("2",), "set": {"refit": True}})
    wish = with_trtexec(click.Context(submit), spec, "--noTF32 --refit --stripWeights", parsed(()))
    assert wish.values["precision"] == ("fp32",)
    assert wish.values["batch"] == ("2",)
    assert wish.values["set"] == {"refit": True, "strip_plan": True}


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("--stripWeights", {"strip_plan": True, "refit_identical": True}),
        ("--stripWeights --refit", {"strip_plan": True, "refit": True}),
        ("--refit --stripWeights", {"refit": True, "strip_plan": True}),
        ("--stripAllWeights", {"strip_plan": True, "refit": True}),
        (
            "--useDLACore=1 --allowGPUFallback",
            {"default_device_type": "DLA", "DLA_core": "1", "gpu_fallback": True},
        ),
        ("--useDLACore=-1 --maxTactics=-1 --maxAuxStreams=-1", {}),
        ("--sparsity=disable", {"sparse_weights": "false"}),
        ("--stronglyTyped", {"strongly_typed": True}),
        ("--workspace=16", {"memory_pool_limits.WORKSPACE": 16 << 20}),
        (
            "--memPoolSize=workspace:0.5G,dlaSRAM:1.0M,tacticSharedMem:48K,dlaLocalDRAM:12B",
            {
                "memory_pool_limits.WORKSPACE": 1 << 29,
                "memory_pool_limits.DLA_MANAGED_SRAM": 1 << 20,
                "memory_pool_limits.TACTIC_SHARED_MEMORY": 48 << 10,
                "memory_pool_limits.DLA_LOCAL_DRAM": 12,
            },
        ),
    ],
)
def test_values_are_written_as_tensorrt_has_them(line: str, options: dict[str, Any]) -> None:
    assert translate_line(line).document.get("set", {}) == options


@pytest.mark.parametrize(
    ("line", "precision"),
    [
        ("", "tf32"),
        ("--noTF32", "fp32"),
        ("--int8", "int8"),
        ("--fp16 --int8", "int8+fp16"),
        ("--fp8 --fp16", "fp8+fp16"),
        ("--best --noBuilderCache", "best"),
        ("--int8 --best", "best"),
        ("--stronglyTyped", "tf32"),
        ("--stronglyTyped --noTF32", "fp32"),
    ],
)
def test_flags_of_precision_make_one_word(line: str, precision: str) -> None:
    assert translate_line(line).document["precision"] == [precision]


def test_formats_go_by_the_order_of_inputs_and_outputs() -> None:
    translation = translate_line("--inputIOFormats=fp16:chw,int8:chw32+chw4 --outputIOFormats=fp16:hwc8")
    assert translation.names_formats
    assert translation.io_formats(["a", "b"], ["y", "z"]) == {
        "a": "fp16:chw",
        "b": "int8:chw32+chw4",
        "y": "fp16:hwc8",
        "z": "fp16:hwc8",
    }


def test_plugins_may_be_given_again() -> None:
    assert translate_line("--plugins=a.so --staticPlugins=b.so").document["plugin"] == ["a.so", "b.so"]


def test_what_needs_nothing_is_noted_with_the_reason() -> None:
    (note,) = translate_line("--saveEngine=a.plan").notes
    assert "farm fetch" in note


@pytest.mark.parametrize("end", ["\\\n", "\\\r\n", "\\ \n", " \\\n\t"])
def test_a_line_goes_on_after_a_backslash(end: str) -> None:
    words = ["trtexec", "--onnx=m.onnx", "--fp16", "--optShapes=x:1x8"]
    assert translate_line(f"{end} ".join(words)) == translate_line(" ".join(words))
    assert translate_line(" ".join(words) + " \\\n") == translate_line(" ".join(words))
    assert translate_line(" ".join(words) + " \\") == translate_line(" ".join(words))
