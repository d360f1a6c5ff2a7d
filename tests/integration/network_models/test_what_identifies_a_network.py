"""The digest of a network covers all that changes what it computes, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.model_formats import NETWORK
from tests.integration.network_models.sources import SOURCE, model_of, weights_file

if TYPE_CHECKING:
    from pathlib import Path


def test_a_network_is_a_document_a_source_and_weights(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    assert model.format == NETWORK
    assert [file.name for file in model.files] == ["network.json", "net.py", "weights.npz"]
    assert [str(tensor) for tensor in model.inputs] == ["data float32 Nx3x8x8"]
    assert model.outputs == ()
    assert model.parameters == 4 * 3 * 3 * 3 + 4
    assert model.producer == "net.py:build"
    assert model.digest.size_bytes == sum(file.digest.size_bytes for file in model.files)


def test_names_of_files_and_of_open_sizes_do_not_count(tmp_path: Path) -> None:
    plain = model_of(tmp_path)
    other = weights_file(tmp_path / "epoch9.npz")
    renamed = model_of(tmp_path, name="other.py", weights=other, inputs=("data:batchx3x8x8",))
    assert renamed.digest.sha256 == plain.digest.sha256


def test_how_the_weights_are_packed_does_not_count(tmp_path: Path) -> None:
    plain = weights_file(tmp_path / "plain.npz")
    with np.load(plain) as arrays:
        np.savez_compressed(tmp_path / "packed.npz", **dict(reversed(list(arrays.items()))))
    digests = {model_of(tmp_path, weights=path).digest.sha256 for path in (plain, tmp_path / "packed.npz")}
    assert len(digests) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"source": SOURCE + "\n# a word more\n"},
        {"source": SOURCE.replace("def build", "def make"), "function": "make"},
        {"inputs": ("data:4x3x8x8",)},
        {"inputs": ("data:fp16:Nx3x8x8",)},
        {"outputs": ("scores:Nx4x6x6",)},
    ],
)
def test_every_part_of_the_definition_counts(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert model_of(tmp_path, **changes).digest.sha256 != model_of(tmp_path).digest.sha256


@pytest.mark.parametrize(
    "changes",
    [
        {"bias": np.zeros(4, np.float32)},
        {"bias": np.zeros((2, 2), np.float32)},
        {"bias": np.zeros(4, np.float16)},
        {"more": np.zeros(1, np.float32)},
    ],
)
def test_every_weight_counts_with_its_type_and_shape(tmp_path: Path, changes: dict[str, Any]) -> None:
    same = {"bias": np.zeros(4, np.float32)} if "more" in changes or changes["bias"].shape != (4,) else {}
    base = model_of(tmp_path, weights=weights_file(tmp_path / "a.npz", **same))
    other = model_of(tmp_path, weights=weights_file(tmp_path / "b.npz", **{**same, **changes}))
    assert other.digest.sha256 != base.digest.sha256


def test_two_functions_of_one_file_are_two_models(tmp_path: Path) -> None:
    both = SOURCE + SOURCE.replace("def build", "def again")
    first, second = (model_of(tmp_path, source=both, function=name) for name in ("build", "again"))
    assert first.digest.sha256 != second.digest.sha256
    assert first.files[1].digest == second.files[1].digest
