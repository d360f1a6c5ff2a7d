"""Every precision that a target has, asked for by one word."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.e2e.driver import fast_spec
from tests.integration.conversion.conftest import classifier
from tests.server_programs import missing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return classifier(tmp_path / "classifier.onnx")


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.random.default_rng(0).normal(0, 1, (16, 3, 32, 32)).astype(np.float32))
    return path


def built(farm: FarmCommand, model: Path, *words: object) -> dict[str, dict[str, Any]]:
    """What was built, by toolchain and precision."""
    farm.run(
        "submit", model, "--spec", fast_spec(farm.folder), "--min-shapes", "x:1x3x32x32", "--opt-shapes",
        "x:4x3x32x32", "--max-shapes", "x:8x3x32x32", "--batch", "1,4", "--local", *words,
    )  # fmt: skip
    engines = farm.json("engines")
    return {f"{engine['toolchain'].split()[0]} {engine['precision']}": engine for engine in engines}


def test_a_target_without_flags_gets_the_model_in_the_types_asked_for(
    farm: FarmCommand, model: Path, samples: Path
) -> None:
    words = ("--gpu", "sm89", "--precision", "fp16,FP16+INT8,fp8", "--calibration", samples)
    found = built(farm, model, *words)
    assert set(found) == {"tensorrt-rtx fp16", "tensorrt-rtx int8+fp16", "tensorrt-rtx fp8"}
    note = found["tensorrt-rtx fp16"]["precision_note"]
    assert "9 of 9 nodes, " in note
    assert "dB from the model on ONNX Runtime, cosine 0.99" in note or "cosine 1.0" in note
    both = found["tensorrt-rtx int8+fp16"]["precision_note"]
    assert both.startswith("INT8 by ONNX Runtime")
    assert ": 3 nodes on 12 Q/DQ nodes, FP16 by ONNX Runtime" in both
    assert found["tensorrt-rtx fp8"]["precision_note"].startswith("FP8 by ONNX Runtime")


def test_a_cpu_computes_in_int8_and_is_verified_against_fp32(
    farm: FarmCommand, model: Path, samples: Path
) -> None:
    words = ("--gpu", "cpu", "--precision", "fp32,int8", "--calibration", samples, "--inputs", samples)
    found = built(farm, model, *words)
    int8, fp32 = found["onnxruntime int8"], found["onnxruntime fp32"]
    assert int8["verified"]
    assert int8["size_bytes"] < fp32["size_bytes"]
    assert 20 < int8["accuracy"]["outputs"][0]["snr_db"] < 60
    assert int8["measurements"]


def test_bf16_is_built_with_modelopt_and_refused_without(farm: FarmCommand, model: Path) -> None:
    words = ("submit", model, "--gpu", "sm89", "--precision", "bf16", "--batch", "1")
    if find_spec("modelopt") is None:
        missing("no modelopt: pip install torch==2.13.0 and 'engine-farm[modelopt]'")
    found = built(farm, model, "--gpu", "sm89", "--precision", "bf16")
    assert "BF16 by ModelOpt AutoCast" in found["tensorrt-rtx bf16"]["precision_note"]
    message = farm.refused(*words[:3], "sm75", *words[4:], code=2)
    assert "compute capability 7.5 has no BF16 (from 8.0 on); nearest: fp16" in message


def test_the_same_samples_are_needed_by_every_type_of_8_bits(farm: FarmCommand, model: Path) -> None:
    message = farm.refused("submit", model, "--gpu", "sm89", "--precision", "fp8", "--batch", "1", code=2)
    assert (
        "fp8 needs samples to calibrate with: --calibration samples.npz, or --calibration random" in message
    )


def test_a_layer_that_is_named_stays_in_fp32(farm: FarmCommand, model: Path) -> None:
    words = ("--gpu", "sm89", "--precision", "fp32,fp16", "--keep-fp32", "conv2,head")
    found = built(farm, model, *words)
    assert found["tensorrt-rtx fp16"]["spec"]["kept_layers"] == ["conv2", "head"]
    assert "7 of 9 nodes" in found["tensorrt-rtx fp16"]["precision_note"]
    assert "kept_layers" not in found["tensorrt-rtx fp32"]["spec"], "it is in FP32 anyway"
    ended = farm.run(
        "submit",
        model,
        "--gpu",
        "sm89",
        "--precision",
        "fp16",
        "--batch",
        "1",
        "--keep-fp32",
        "conv9",
        "--local",
        code=2,
    )
    assert "the model has no node 'conv9' to keep in FP32" in ended.out + ended.err
