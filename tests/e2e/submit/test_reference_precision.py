"""`farm submit --reference fp64`: an engine held against the model in double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import models
from tests.e2e.driver import fast_spec
from tests.e2e.submit.submissions import seed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


@pytest.mark.parametrize(
    ("make", "computed_by"),
    [(models.dense, "onnxruntime"), (models.segmentation, "reference evaluator")],
)
def test_an_engine_is_compared_with_the_model_in_fp64_and_the_record_says_by_whom(
    busy_farm: FarmCommand, tmp_path: Path, make: Any, computed_by: str
) -> None:
    name = make.__name__
    model = models.save(make(seed(tmp_path)), tmp_path / f"{name}.onnx")
    words = ("submit", model, "--spec", fast_spec(tmp_path), "--gpu", "cpu", "--batch", "4")
    assert busy_farm.json(*words, "--wait")["successful"] is True
    # A run against the usual reference is no answer.
    doubled = (*words, "--reference", "fp64")
    assert busy_farm.json(*doubled, "--dry-run")["cells"][0]["disposition"] == "queued"
    assert busy_farm.json(*doubled, "--wait")["successful"] is True
    found = busy_farm.json("accuracy", name)["accuracy"]
    assert computed_by in found["reference"]
    assert found["reference"].endswith("fp64")
    # FP32 is not FP64: what an FP32 reference of the same library would call exact.
    assert 0 < found["outputs"][0]["rel_l2_error"] < 1e-5
    assert busy_farm.json(*doubled, "--dry-run")["cells"][0]["disposition"] == "built"
