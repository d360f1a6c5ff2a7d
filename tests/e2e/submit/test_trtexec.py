"""`farm submit --trtexec`: a line as users carry it around, against a real TensorRT-RTX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.driver import fast_spec

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand

pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")

SHAPES = "--minShapes=x:1x8 --optShapes=x:4x8 --maxShapes=x:8x8"


def keys(plan: dict[str, list[dict[str, str]]]) -> list[str]:
    return [cell["key"] for cell in plan["cells"]]


def test_a_line_asks_for_the_same_engine_as_the_options(farm: FarmCommand, dynamic: Path) -> None:
    line = f"trtexec --onnx={dynamic} {SHAPES} --shapes=x:2x8 --profilingVerbosity=detailed --allowWeightStreaming"
    plan = farm.json("submit", "--gpu", "sm89", "--trtexec", line, "--dry-run")
    written = farm.json(
        "submit", dynamic, "--gpu", "sm89", "--precision", "tf32", "--batch", "2",
        "--min-shapes", "x:1x8", "--opt-shapes", "x:4x8", "--max-shapes", "x:8x8",
        "--set", "profiling_verbosity=DETAILED", "--set", "weight_streaming=true", "--dry-run",
    )  # fmt: skip
    assert keys(plan) == keys(written)
    assert plan["batches"] == [2]


def test_options_and_the_model_of_the_command_line_win(farm: FarmCommand, dynamic: Path) -> None:
    saved = farm.folder / "build.yaml"
    line = f"--onnx=elsewhere.onnx {SHAPES} --noTF32 --warmUp=5 --duration=0.5 --saveEngine=a.plan"
    ended = farm.run(
        "submit",
        dynamic,
        "--gpu",
        "sm89",
        "--precision",
        "tf32",
        "--trtexec",
        line,
        "--save-spec",
        saved,
        "--dry-run",
    )
    assert "--saveEngine: the engine goes into the farm" in ended.out + ended.err
    assert farm.json("submit", "--spec", saved, "--dry-run")["name"] == "dynamic"
    assert "duration_ms: 500\n" in saved.read_text()
    assert "- tf32\n" in saved.read_text()


def test_formats_find_the_names_of_the_model(farm: FarmCommand, dynamic: Path) -> None:
    line = f"--onnx={dynamic} {SHAPES} --inputIOFormats=fp32:chw,fp32:chw"
    assert "2 formats for 1 tensors (x)" in farm.refused("submit", "--gpu", "sm89", "--trtexec", line, code=2)


def test_all_that_stands_against_a_line_is_said_at_once_and_nothing_is_queued(
    farm: FarmCommand, dynamic: Path
) -> None:
    line = f"--onnx={dynamic} {SHAPES} --sleepTime=4 --layerPrecisions=a:fp16 --fp61"
    said = farm.refused("submit", "--gpu", "sm89", "--trtexec", line, code=2)
    assert "3 flag(s) of the trtexec line can not be taken" in said
    for name in ("--sleepTime=4", "--layerPrecisions", "--fp61"):
        assert name in said
    assert not farm.has_anything()


@pytest.mark.parametrize("gpu", ["cpu", "sm75", "cpu,sm89"])
def test_who_meets_tf32_unasked_is_told_how_to_leave_it_out(
    farm: FarmCommand, dynamic: Path, gpu: str
) -> None:
    line = f"--onnx={dynamic} {SHAPES}"
    said = farm.refused("submit", "--gpu", gpu, "--trtexec", line, "--dry-run", code=2)
    assert "has no TF32" in said
    assert "unless the line says --noTF32: add that, or --precision fp32" in said
    if gpu != "sm75":
        farm.run("submit", "--gpu", gpu, "--trtexec", f"{line} --noTF32", "--dry-run")


def test_a_dynamic_model_without_shapes_is_not_quietly_built_at_1(farm: FarmCommand, dynamic: Path) -> None:
    words = ("submit", "--gpu", "sm89", "--trtexec", f"--onnx={dynamic}")
    said = farm.refused(*words, code=2)
    assert "is dynamic" in said
    assert "trtexec would set what is dynamic to 1" in said
    assert "--batch 1" in said
    assert farm.json(*words, "--batch", "1", "--dry-run")["batches"] == [1]
    # Other people never said trtexec.
    assert "trtexec" not in farm.refused("submit", dynamic, "--gpu", "sm89", code=2)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--refit", "refit is not offered for TensorRT-RTX: building with it fails without a GPU"),
        ("--stripWeights", "strip_plan is not offered for TensorRT-RTX"),
        ("--vc", "the lean runtime, which is not part of TensorRT-RTX"),
        ("--sparsity=enable", "the engine stays the same, byte for byte"),
        ("--useDLACore=0", "it is built without DLA"),
        ("--stronglyTyped", "its networks always have the model's own types"),
        ("--preview=+profileSharing0806", "TensorRT 8.6 to 10"),
    ],
)
def test_what_the_release_lacks_is_refused_by_name(
    farm: FarmCommand, dynamic: Path, line: str, reason: str
) -> None:
    said = farm.refused("submit", "--gpu", "sm89", "--trtexec", f"--onnx={dynamic} {SHAPES} {line}", code=2)
    assert reason in said


def test_an_engine_is_built_from_a_line(farm: FarmCommand, dynamic: Path) -> None:
    line = f"--onnx={dynamic} {SHAPES} --allowWeightStreaming --directIO --preview=-runtimeActivationResize"
    farm.run(
        "submit",
        "--spec",
        fast_spec(farm.folder),
        "--gpu",
        "sm89",
        "--trtexec",
        line,
        "--name",
        "line",
        "--local",
    )
    (engine,) = farm.json("engines", "line")
    assert engine["spec"]["builder_config"] == {
        "weight_streaming": True,
        "direct_io": True,
        "preview_features": ["-RUNTIME_ACTIVATION_RESIZE_10_10"],
    }
