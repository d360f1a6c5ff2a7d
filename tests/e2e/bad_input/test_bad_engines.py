"""A folder with a worker already, altered bytes, and where no engine fits: the difference is named."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.e2e import models
from tests.e2e.bad_input.good_model import GOOD
from tests.e2e.driver import FarmCommand, fast_spec

if TYPE_CHECKING:
    from pathlib import Path


def test_two_workers_on_one_folder(farm: FarmCommand) -> None:
    with farm.up() as first:
        said = farm.refused("up", code=4)
        assert f"{farm.home} already has a worker: pid {first.pid}" in said
        assert "choose another folder with --home" in said
    with farm.up():
        pass  # the folder is free again


def test_altered_bytes_are_never_handed_out(filled_home: FarmCommand, tmp_path: Path) -> None:
    farm = FarmCommand(tmp_path)
    shutil.copytree(filled_home.home, farm.home, symlinks=True)
    (engine,) = farm.json("engines", "dense")
    sha256 = engine["digest"].partition(":")[2].split("-")[0] or engine["digest"]
    (stored,) = (path for path in (farm.home / "artifacts").rglob(f"{sha256[:64]}*") if path.is_file())
    data = bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 1
    stored.chmod(0o644)
    stored.write_bytes(data)

    output = tmp_path / "fetched.engine"
    said = farm.refused("fetch", "dense", "-o", output, code=7)
    assert "was altered" in said
    assert str(stored) in said
    assert [path.name for path in tmp_path.iterdir() if "engine" in path.name or "part" in path.name] == []

    output.write_text("the engine of yesterday")
    farm.refused("fetch", "dense", "-o", output, code=7)
    assert output.read_text() == "the engine of yesterday"


@pytest.mark.parametrize(
    ("words", "wanted", "differs", "hint"),
    [
        ("--precision fp16", "· fp16", "(differs in precision)", "`farm submit` builds one that fits"),
        ("--gpu sm89", "any-sm89", "(differs in device)", "`farm engines dense` lists all"),
        ("--toolchain onnxruntime@0.1", "onnxruntime@0.1", "(differs in toolchain)", ""),
        ("--gpu sm89 --precision fp16", "any-sm89 · fp16", "(differs in device and precision)", ""),
        ("--gpu h200", "unknown GPU 'h200'", "(differs in device)", "cpu-"),
    ],
)  # fmt: skip
def test_where_nothing_fits_the_difference_is_named(
    filled_home: FarmCommand, tmp_path: Path, words: str, wanted: str, differs: str, hint: str
) -> None:
    output = tmp_path / "dense.engine"
    said = filled_home.refused("fetch", "dense", "-o", output, *words.split(), code=3)
    assert "no engine of dense@1 fits" in said
    assert wanted in said
    assert "onnxruntime" in said.partition("there are:")[2]
    assert differs in said
    assert hint in said
    assert not output.exists()


def test_a_model_without_engines(farm: FarmCommand) -> None:
    farm.run("submit", models.save(GOOD, farm.folder / "net.onnx"), "--gpu", "cpu")
    said = farm.refused("fetch", "net", code=3)
    assert "no engine of net@1 is built yet" in said
    assert "`farm status` shows what is under way" in said


def test_a_new_version_without_engines_names_the_old_one(farm: FarmCommand) -> None:
    fast = fast_spec(farm.folder)
    farm.run("submit", models.save(GOOD, farm.folder / "net.onnx"), "--gpu", "cpu", "--local", "--spec", fast)
    newer = models.save(models.dense(5, batch=1), farm.folder / "net.onnx")
    farm.run("submit", newer, "--gpu", "cpu")
    assert "Version 1 has 1 engine(s): ask for net@1." in farm.refused("fetch", "net", code=3)
    assert farm.run("fetch", "net@1").out.startswith("net.engine: net@1")


def test_an_output_folder_that_is_not_there(filled_home: FarmCommand, tmp_path: Path) -> None:
    said = filled_home.refused("fetch", "dense", "-o", tmp_path / "no" / "dense.engine", code=6)
    assert f"there is no folder {tmp_path / 'no'}" in said
