"""Why TensorRT-RTX is not offered what other releases are: asked of NVIDIA's own module."""

from __future__ import annotations

import ctypes.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from farm.domain.option_releases import OPTION_RELEASES
from tests.integration.test_toolchain_tensorrt_rtx import convolutions

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")

PROJECT = Path(__file__).parents[2]
#: Builds for 8.9 with options that are applied whether they are offered or not; tells the digest, or the error.
PROGRAM = """
import hashlib, json, sys
from pathlib import Path
import tensorrt_rtx as trt
from farm.domain.errors import FarmError
from workers.toolchains.trt_log import failure, log_of
from workers.toolchains.trt_options import apply_options

log, told = log_of(trt), []
for options in json.loads(sys.argv[2]):
    log.forget()
    builder = trt.Builder(log.logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log.logger)
    assert parser.parse_from_file(sys.argv[1])
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    profile = builder.create_optimization_profile()
    profile.set_shape("x", (1, 3, 16, 16), (4, 3, 16, 16), (8, 3, 16, 16))
    config.add_optimization_profile(profile)
    try:
        marked = options.pop("marked", None)
        apply_options(trt, config, options, log)
        if marked:
            network.mark_weights_refittable(marked)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise failure(log, "could not build", needs_device=False)
        told.append(hashlib.sha256(plan).hexdigest())
    except FarmError as error:
        told.append(f"{error.message} | {error.hint}")
print(json.dumps(told))
"""
#: Whose reason is that the engine stays the same.
IDLE: dict[str, Any] = {
    "builder_optimization_level": 5,
    "avg_timing_iterations": 8,
    "max_aux_streams": 0,
    "max_num_tactics": 1,
    "tiling_optimization_level": "FULL",
    "l2_limit_for_tiling": 1 << 20,
    "tactic_sources": ["-JIT_CONVOLUTIONS"],
    "memory_pool_limits.TACTIC_DRAM": 1 << 20,
    "sparse_weights": True,
    "strict_nans": True,
    "distributive_independence": True,
    "disable_compilation_cache": True,
}


def built(model: Path, *options: dict[str, Any]) -> list[str]:
    """Of each the engine's digest, or why there is none."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(model), json.dumps(options)],
        cwd=PROJECT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    told: list[str] = json.loads(ended.stdout.splitlines()[-1])
    return told


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convolutions(tmp_path_factory.mktemp("net") / "net.onnx", product=True)


def test_what_is_said_to_change_nothing_changes_no_byte(model: Path) -> None:
    idle = {name for name, releases in OPTION_RELEASES.items() if "byte for byte" in releases.why_not_rtx}
    assert set(IDLE) == idle
    plain, *others = built(model, {}, *({name: value} for name, value in IDLE.items()))
    assert len(plain) == 64
    assert dict(zip(IDLE, others, strict=True)) == dict.fromkeys(IDLE, plain)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"version_compatible": True}, "libnvinfer_lean"),
        ({"runtime_platform": "WINDOWS_AMD64"}, "refuses runtime_platform=WINDOWS_AMD64"),
        ({"memory_pool_limits.DLA_LOCAL_DRAM": 1 << 20}, "DLA disabled"),
        ({"engine_capability": "DLA_STANDALONE"}, "could not build"),
    ],
)
def test_what_is_said_to_fail_fails(model: Path, options: dict[str, Any], error: str) -> None:
    (told,) = built(model, options)
    assert error in told


def test_a_missing_lean_runtime_comes_with_what_to_do(model: Path) -> None:
    (told,) = built(model, {"version_compatible": True})
    assert "install tensorrt-lean of the same version" in told


@pytest.mark.skipif(bool(ctypes.util.find_library("cuda")), reason="there is a GPU's driver here")
@pytest.mark.parametrize(
    "options",
    [
        {"refit": True},
        {"refit_identical": True},
        {"strip_plan": True},
        {"refit_individual": ["w0"], "marked": "w0"},
    ],
)
def test_engines_that_can_be_refitted_are_not_built_without_a_gpu(
    model: Path, options: dict[str, Any]
) -> None:
    (told,) = built(model, options)
    assert "CHECK(status == CUDA_SUCCESS) failed" in told
