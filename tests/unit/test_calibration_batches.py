"""Calibration samples in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.models import Tensor
from workers.toolchains.calibration_batches import batches_of
from workers.toolchains.toolchain import CalibrationInput

if TYPE_CHECKING:
    from pathlib import Path

IDS = Tensor("ids", "int32", (-1, 4))


def samples(folder: Path, largest: int) -> CalibrationInput:
    path = folder / "samples.npz"
    np.savez(path, ids=np.array([[0, 1, 2, largest]] * 8, dtype=np.int64))
    return CalibrationInput("ENTROPY_CALIBRATION_2", data_path=path, batch=4)


def test_a_models_long_numbers_are_given_as_the_builder_has_them(tmp_path: Path) -> None:
    # TensorRT 8 has no int64: a BERT's ids are int32 in its network, and int64 in everybody's samples.
    batches = batches_of([IDS], {"ids": (4, 4)}, samples(tmp_path, 30521))
    assert [batch["ids"].dtype.name for batch in batches] == ["int32", "int32"]
    assert batches[0]["ids"].tolist() == [[0, 1, 2, 30521]] * 4


def test_a_number_that_does_not_fit_is_refused_and_not_cut(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match="'ids' has numbers beyond int32"):
        batches_of([IDS], {"ids": (4, 4)}, samples(tmp_path, 1 << 40))
