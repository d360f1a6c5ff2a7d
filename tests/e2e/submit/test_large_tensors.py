"""Tensors that a release can not run: refused before anything is built."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from farm.bootstrap import open_farm
from farm.settings import read_settings
from tests.factories import a_toolchain, a_worker

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """From N x 1 x 512 x 512 to 128 channels: at batch 64 that is 2^31 elements."""
    path = tmp_path / "wide.onnx"
    sides = ["N", 1, 512, 512]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["wide"], name="widen"),
            helper.make_node("GlobalAveragePool", ["wide"], ["y"], name="pool"),
        ],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 128, 1, 1])],
        [numpy_helper.from_array(np.ones((128, 1, 1, 1), np.float32), "w")],
    )
    save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.fixture
def farm(farm: FarmCommand) -> FarmCommand:
    """With an H200 that has TensorRT 8.6.0 and 10.3.0."""
    farm.run("db", "upgrade")
    both = a_toolchain(), a_toolchain(version="10.3.0")
    opened = open_farm(read_settings(environment=farm.environment))
    with closing(opened.database) as database, database.transaction() as transaction:
        transaction.fleet.register(a_worker(toolchains=both))
    return farm


def test_a_batch_with_a_tensor_beyond_the_releases_limit_is_refused_with_the_tensor(
    farm: FarmCommand, model: Path
) -> None:
    words = ("submit", model, "--gpu", "h200", "--toolchain", "tensorrt@8.6.0", "--precision", "fp32")
    refused = farm.run(*words, "--batch", "1,64", code=2)
    assert (
        "runs no tensor of 2^31 elements or more, and 'wide' has 2,147,483,648 at x:64x1x512x512"
        in refused.err
    )
    assert "farm inspect MODEL --batch N" in refused.err
    farm.run(*words, "--batch", "1,63")


def test_another_release_of_the_same_submission_takes_it(farm: FarmCommand, model: Path) -> None:
    ended = farm.run(
        "submit", model, "--gpu", "h200", "--toolchain", "tensorrt@8.6.0,tensorrt@10.3.0", "--precision", "fp32",
        "--batch", "64", "--skip-unsupported",
    )  # fmt: skip
    assert (
        "left out: nvidia-h200 · tensorrt 8.6.0 · fp32: tensorrt 8.6.0 runs no tensor"
        in ended.out + ended.err
    )
    assert [row["toolchain"] for row in farm.json("queue") if row["waiting"]] == ["tensorrt 10.3.0"]
