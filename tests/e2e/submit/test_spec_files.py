"""A spec file asks for what the options do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


def test_a_saved_spec_asks_for_the_same(farm: FarmCommand, dynamic: Path) -> None:
    words = (
        "--name", "dense", "--gpu", "cpu", "--gpu", "sm89", "--precision", "fp32", "--batch", "1,8",
        "--min-shapes", "x:1x8", "--opt-shapes", "x:8x8", "--max-shapes", "x:16x8",
        "--set", "onnxruntime:graph_optimization_level=BASIC", "--threshold", "min_cosine=0.99", "--tag", "team=vision",
        "--salt", "7", "--max-attempts", "2", "--deadline", "600",
    )  # fmt: skip
    saved = farm.folder / "build.yaml"
    plain = farm.run("submit", dynamic, *words, "--save-spec", saved, "--dry-run", "--json").document
    assert yaml.safe_load(saved.read_text())["max_shapes"] == {"x": "16x8"}

    assert farm.json("submit", "--spec", saved, "--dry-run") == plain
    submission = farm.json("submit", "--spec", saved)
    assert submission["tags"] == {"team": "vision"}
    assert [cell["key"] for cell in submission["cells"]] == [cell["key"] for cell in plain["cells"]]


def test_options_win_over_the_spec_file_and_its_paths_are_relative_to_it(
    farm: FarmCommand, dynamic: Path
) -> None:
    folder = farm.folder / "specs"
    folder.mkdir()
    path = folder / "build.yaml"
    path.write_text("model: ../dynamic.onnx\ngpu: [sm89]\nprecision: fp32\nbatch: [1, 2]\nname: from-file\n")
    plan = farm.json("submit", "--spec", path, "--gpu", "cpu", "--dry-run")
    assert (plan["name"], plan["batches"]) == ("from-file", [1, 2])
    assert [cell["device_type"][:4] for cell in plan["cells"]] == ["cpu-"]
    assert farm.json("submit", dynamic, "--spec", path, "--name", "mine", "--dry-run")["name"] == "mine"
