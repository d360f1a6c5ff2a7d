"""`farm tune` on the CPU with ONNX Runtime, as a user runs it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from farm.samples import digits_model
from tests.e2e import models

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.driver import FarmCommand

QUICK = ("--warmup-ms", "1", "--duration-ms", "20", "--interval-percent", "100")


@pytest.fixture
def tuned(farm: FarmCommand, tmp_path: Path) -> Iterator[tuple[FarmCommand, tuple[object, ...]]]:
    """A farm with a worker, and the words of a tuning."""
    path = models.save(models.dense(1), tmp_path / "dense.onnx")
    samples = tmp_path / "samples.npz"
    np.savez(samples, x=np.random.default_rng(0).standard_normal((32, 8)).astype(np.float32))
    words = ("tune", path, "--gpu", "cpu", "--toolchain", "onnxruntime", "--batch", "2", *QUICK,
             "--calibration", samples, "--inputs", samples)  # fmt: skip
    with farm.up():
        yield farm, words


def trials(document: Any) -> dict[tuple[str, int], Any]:
    return {(trial["precision"], len(trial["kept_layers"])): trial for trial in document["frontier"]}


def test_tuning_gives_an_engine_that_meets_the_demand(
    tuned: tuple[FarmCommand, tuple[object, ...]],
) -> None:
    farm, words = tuned
    found = farm.json(*words, "--min-accuracy", "cosine=0.99")
    assert found["met"]
    assert found["best"]["cosine"] >= 0.99
    assert found["best"]["median_ms"] == min(
        trial["median_ms"] for trial in found["frontier"] if trial["meets"]
    )
    # What a CPU can do, and why the rest was left out.
    assert {precision for precision, _ in trials(found)} == {"fp32", "int8"}
    assert any("fp16" in one["cell"] and "fp32" in one["reason"] for one in found["left_out"])


def test_only_fp32_is_exact_and_layers_are_kept_on_the_way(
    tuned: tuple[FarmCommand, tuple[object, ...]],
) -> None:
    farm, words = tuned
    ended = farm.run(*words, "--min-accuracy", "snr_db=100")
    assert "meets" in ended.out
    chosen = re.search(r"^engine (\d+): fp32", ended.out, re.MULTILINE)
    assert chosen, str(ended)
    # Whatever else fits this machine and this precision.
    assert ended.out.splitlines()[-1] == f"fetch it with: farm fetch dense --engine {chosen[1]}"
    fetched = farm.json("fetch", "dense", "--engine", chosen[1], "--dry-run")
    assert (fetched["id"], fetched["precision"]) == (int(chosen[1]), "fp32")


def test_a_demand_that_nothing_meets_is_said_and_is_an_exit_code(
    tuned: tuple[FarmCommand, tuple[object, ...]],
) -> None:
    farm, words = tuned
    found = farm.json(*words, "--max-latency", "0.001us", code=3)
    assert (found["met"], found["best"]) == (False, None)
    assert len(found["frontier"]) >= 2
    ended = farm.run(*words, "--max-latency", "0.001us", code=3)
    assert "no engine meets the demand" in ended.out


def test_a_second_tuning_builds_nothing(tuned: tuple[FarmCommand, tuple[object, ...]]) -> None:
    farm, words = tuned
    first = farm.json(*words, "--max-latency", "1s")
    built = farm.json("engines")
    second = farm.json(*words, "--max-latency", "1s")
    assert second["best"]["engine"] == first["best"]["engine"]
    assert farm.json("engines") == built


def test_samples_may_be_images(farm: FarmCommand, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    draw = np.random.default_rng(0)
    for number in range(8):
        Image.fromarray(draw.integers(0, 255, (12, 12), dtype=np.uint8)).save(photos / f"{number}.png")
    (photos / "classes.csv").write_text("\n".join(f"{number}.png,{number}" for number in range(8)))
    (photos / "broken.png").write_bytes(b"")
    words = ("tune", digits_model(), "--gpu", "cpu", "--toolchain", "onnxruntime", "--precision", "fp32,int8", *QUICK,
             "--max-latency", "1s", "--calibration", photos, "--inputs", photos)  # fmt: skip
    assert "broken.png" in farm.refused(*words, code=2)
    images = ("--image-resize", "shorter-side:10", "--image-mean", "0.5", "--skip-broken-images")
    ended = farm.run(*words, *images, "--labels", photos / "classes.csv", "--local", "--json")
    for key in ("inputs", "calibration"):
        assert f"{key}: 8 sample(s) from {photos}" in ended.err
    assert "mean 0.5" in ended.err
    assert "with their classes" in ended.err
    assert {precision for precision, _ in trials(ended.document)} == {"fp32", "int8"}


def test_tuning_needs_a_demand_and_one_device_type(farm: FarmCommand, tmp_path: Path) -> None:
    path = models.save(models.dense(1), tmp_path / "dense.onnx")
    assert "nothing is asked of the engine" in farm.refused("tune", path, "--gpu", "cpu", code=2)
    assert "unknown accuracy 'cosin'" in farm.refused("tune", path, "--min-accuracy", "cosin=1", code=2)
    assert "not a latency" in farm.refused("tune", path, "--max-latency", "soon", code=2)


def test_a_device_that_nobody_has_is_refused_before_anything_is_built(
    farm: FarmCommand, tmp_path: Path
) -> None:
    path = models.save(models.dense(1), tmp_path / "dense.onnx")
    said = farm.refused("tune", path, "--gpu", "sm89", "--max-latency", "5ms", code=2)
    assert "no worker has a" in said
    assert "engines for it can be built here and not measured, so nothing can be tuned" in said
    assert farm.submissions() == []
