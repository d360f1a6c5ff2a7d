"""The reference of a program is the program itself, run by PyTorch on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.errors import BuildError
from tests.pytorch import pytorch
from workers.child.reference import compute_reference
from workers.child.reference_request import ReferenceRequest

if TYPE_CHECKING:
    from pathlib import Path

torch = pytorch()


class Double(torch.nn.Module):  # type: ignore[misc]  # no types here
    def forward(self, x: Any) -> Any:
        return 2 * x


def request(folder: Path) -> ReferenceRequest:
    return ReferenceRequest(
        folder / "net.pt2",
        folder / "inputs.npz",
        True,
        {"x": (2, 8)},
        seed=3,
        outputs_path=folder / "outputs.npz",
    )


def test_inputs_are_made_and_outputs_computed(tmp_path: Path) -> None:
    torch.export.save(torch.export.export(Double(), (torch.zeros(2, 8),)), tmp_path / "net.pt2")
    assert compute_reference(request(tmp_path)).startswith("pytorch ")
    with np.load(tmp_path / "inputs.npz") as inputs, np.load(tmp_path / "outputs.npz") as outputs:
        (name,) = outputs.files
        np.testing.assert_array_equal(outputs[name], 2 * inputs["x"])


def test_a_file_that_pytorch_does_not_read_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(b"no program")
    with pytest.raises(BuildError, match="can not read the program"):
        compute_reference(request(tmp_path))
