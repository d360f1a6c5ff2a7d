"""A state dict of PyTorch becomes an `.npz` under the same names; nothing in the file is run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm.domain.errors import InvalidModelError
from tests.pytorch import pytorch
from workers.state_dict import convert_state_dict

if TYPE_CHECKING:
    from pathlib import Path


def torch_here() -> Any:
    return pytorch()


def converted(folder: Path, value: Any) -> dict[str, Any]:
    torch_here().save(value, folder / "net.pth")
    with np.load(convert_state_dict(folder / "net.pth", folder / "net.npz")) as arrays:
        return dict(arrays)


def test_names_types_and_values_stay(tmp_path: Path) -> None:
    torch = torch_here()
    state = {
        "conv.weight": torch.arange(6.0).reshape(2, 3).t(),
        "half": torch.ones(3, dtype=torch.float16),
        "bn.num_batches_tracked": torch.tensor(7),
    }
    arrays = converted(tmp_path, state)
    assert {name: (str(array.dtype), array.shape) for name, array in arrays.items()} == {
        "conv.weight": ("float32", (3, 2)),
        "half": ("float16", (3,)),
        "bn.num_batches_tracked": ("int64", ()),
    }
    np.testing.assert_array_equal(arrays["conv.weight"], state["conv.weight"].numpy())


def test_bfloat16_becomes_float32_exactly(tmp_path: Path) -> None:
    torch = torch_here()
    value = torch.tensor([1.0, 3.140625, -0.0078125], dtype=torch.bfloat16)
    array = converted(tmp_path, {"w": value})["w"]
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, [1.0, 3.140625, -0.0078125])


def test_a_checkpoint_with_a_state_dict_in_it_is_taken(tmp_path: Path) -> None:
    torch = torch_here()
    assert list(converted(tmp_path, {"epoch": 3, "state_dict": {"w": torch.ones(1)}})) == ["w"]


@pytest.mark.parametrize("value", [{}, {"epoch": 3}, [1, 2], {"state_dict": 3}])
def test_what_holds_no_state_dict_is_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(InvalidModelError, match="holds no state dict"):
        converted(tmp_path, value)


class Runs:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


def test_a_file_that_would_run_something_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match="is no state dict that PyTorch"):
        converted(tmp_path, {"w": Runs(tmp_path / "ran")})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut short"])
def test_what_pytorch_does_not_read_is_refused(tmp_path: Path, content: bytes) -> None:
    torch_here()
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(InvalidModelError, match="is no state dict that PyTorch"):
        convert_state_dict(tmp_path / "net.pth", tmp_path / "net.npz")


def test_without_pytorch_it_is_said_how_to_convert_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidModelError, match="PyTorch is not installed here") as refused:
        convert_state_dict(tmp_path / "net.pth", tmp_path / "net.npz")
    assert "numpy.savez" in refused.value.hint
