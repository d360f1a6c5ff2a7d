"""The README says of precisions and of the schema what is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from farm.domain.precisions import PRECISIONS
from farm.domain.targets import ToolchainId
from tests.unit.trt.surface import surface
from workers.toolchains.onnxruntime import OnnxRuntimeToolchain
from workers.toolchains.torch_tensorrt_options import precisions_of as torch_tensorrt_precisions
from workers.toolchains.trt_precision import precisions_of

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def listed() -> dict[str, list[str]]:
    """The precisions of every row of the table of toolchains, by the first cell."""
    section = README.split("\n## What is supported\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (`[^|]+) \| [^|]+ \| ([^|]+) \| [^|]+ \|$", section, flags=re.MULTILINE)
    return {name.replace("`", "").partition(" or")[0]: words.split(", ") for name, words in rows}


def done(answers: dict[str, str]) -> list[str]:
    return [word for word in PRECISIONS if not answers.get(word, "no")]


@pytest.mark.parametrize(
    ("row", "version"),
    [
        ("tensorrt 8.5, 8.6", "8.6.0"),
        ("tensorrt 10", "10.13.3"),
        ("tensorrt 11", "11.4.0.106"),
        ("tensorrt-rtx 1.7", "11.4.0.106"),
    ],
)
def test_the_precisions_of_tensorrt_are_those_of_its_builder(row: str, version: str) -> None:
    assert listed()[row] == done(precisions_of(surface(version), ToolchainId("tensorrt", version)))


def test_the_precisions_of_the_others_are_those_that_they_do() -> None:
    assert listed()["onnxruntime 1.20"] == done(dict(OnnxRuntimeToolchain().describe().precisions))
    ours = torch_tensorrt_precisions(ToolchainId("torch-tensorrt", "2.11.0"))
    assert listed()["torch-tensorrt"] == done(dict(ours))


def test_the_doctor_of_the_tour_saw_the_schema_of_this_release() -> None:
    newest = max(path.name[:4] for path in (ROOT / "migrations" / "versions").glob("0*.py"))
    assert re.findall(r"schema (\d+), writable", README) == [newest]
    (onnxruntime,) = re.findall(r"toolchain: onnxruntime \S+ \(([^)]+)\)", README)
    assert onnxruntime.split(", ") == listed()["onnxruntime 1.20"]
    (rtx,) = re.findall(r"toolchain: tensorrt-rtx \S+ \(([^)]+)\)", README)
    assert rtx.split(", ") == listed()["tensorrt-rtx 1.7"]
