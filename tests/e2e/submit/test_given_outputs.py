"""`farm submit --inputs` with `outputs/NAME`: an engine is compared with what the user says, in place of a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.driver import FarmCommand

X = np.random.default_rng(5).standard_normal((6, 8)).astype(np.float32)


def computed(model: Path) -> Any:
    """What `dense` computes: the sum is not ONNX Runtime's to the last bit."""
    (weights,) = onnx.load(model).graph.initializer
    return np.maximum(X.astype(np.float64) @ numpy_helper.to_array(weights), 0)


def submitted(farm: FarmCommand, model: Path, outputs: Any, code: int = 0) -> Any:
    np.savez(farm.folder / "given.npz", x=X, **{"outputs/scores": outputs})
    words = ("submit", model, "--gpu", "cpu", "--batch", 2, "--inputs", farm.folder / "given.npz")
    return farm.json(
        *words, "--warmup-ms", 1, "--duration-ms", 20, "--interval-percent", 100, "--local", code=code
    )


@pytest.mark.slow
def test_an_engine_that_computes_the_given_outputs_is_verified_by_them(
    farm: FarmCommand, dynamic: Path
) -> None:
    submitted(farm, dynamic, computed(dynamic))
    (engine,) = farm.json("engines", "dynamic")
    assert engine["verified"]
    accuracy = engine["runs"][-1]["accuracy"] if "runs" in engine else engine["accuracy"]
    assert accuracy["reference"].startswith("the outputs that were given with the inputs")
    assert accuracy["samples"] == len(X)
    assert 0 < accuracy["outputs"][0]["max_abs_error"] < 1e-5


@pytest.mark.slow
def test_an_engine_that_computes_something_else_fails_its_job(farm: FarmCommand, dynamic: Path) -> None:
    found = submitted(farm, dynamic, -computed(dynamic), code=5)
    assert "AccuracyError" in str(found)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({"outputs/score": np.zeros((6, 4))}, "no such output"),
        ({"outputs/scores": np.zeros((6, 3))}, "does not fit output scores"),
    ],
)
def test_outputs_that_do_not_fit_the_model_are_refused_before_anything_is_queued(
    farm: FarmCommand, dynamic: Path, outputs: Any, said: str
) -> None:
    np.savez(farm.folder / "given.npz", x=X, **outputs)
    words = ("submit", dynamic, "--gpu", "cpu", "--batch", 2, "--inputs", farm.folder / "given.npz")
    assert said in farm.refused(*words, code=2)
    assert not farm.has_anything()


def test_given_outputs_and_a_reference_that_is_to_be_computed_do_not_go_together(
    farm: FarmCommand, dynamic: Path
) -> None:
    np.savez(farm.folder / "given.npz", x=X, **{"outputs/scores": computed(dynamic)})
    words = ("submit", dynamic, "--gpu", "cpu", "--batch", 2, "--inputs", farm.folder / "given.npz")
    assert "has outputs to compare with" in farm.refused(*words, "--reference", "fp64", code=2)
    assert not farm.has_anything()
