"""A model that can not be taken: one clear line, what to do next, nothing queued."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import models
from tests.e2e.bad_input.good_model import GOOD

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.driver import FarmCommand


def _broken_model(name: str, folder: Path) -> Path:
    """A model that nobody should take."""
    path = folder / "model.onnx"
    contents: dict[str, bytes] = {
        "text": b"this is no model\n",
        "truncated": GOOD[: len(GOOD) // 2],
        "empty": b"",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
        "zip": b"PK\x03\x04" + bytes(100),
        "opset": models.dense(opset=99).SerializeToString(),
        "operator": models.dense(operator="Actify").SerializeToString(),
        "engine": b"ftrt" + bytes(64),
    }
    if name in contents:
        return models.save(contents[name], path)
    external: dict[str, Callable[[], Path]] = {
        "external missing": lambda: models.save_external(path, location="elsewhere.bin"),
        "external outside": lambda: models.save_external(path, location="../secret.bin"),
        "external absolute": lambda: models.save_external(path, location="/etc/passwd"),
        "external past the end": lambda: models.save_external(path, offset=64, length=128),
        "external link": lambda: models.save_external(path, location="link.bin"),
    }
    if name == "external link":
        secret = folder.parent / "secret.bin"
        secret.write_bytes(bytes(128))
        (folder / "link.bin").symlink_to(secret)
    if name in external:
        return external[name]()
    if name == "folder":
        path.mkdir()
    return path  # missing


@pytest.mark.parametrize("command", ["submit", "inspect"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "no such file"),
        ("folder", "is a folder"),
        ("text", "is not an ONNX model"),
        ("truncated", "is not an ONNX model, or only the beginning of one"),
        ("empty", "is empty"),
        ("lfs", "Git LFS pointer"),
        ("zip", "zip archive, as PyTorch writes"),
        ("engine", "is a TensorRT engine"),
        ("opset", "opset 99; newest known"),
        ("operator", "node 'activate'"),
        ("external missing", "external file 'elsewhere.bin' (tensor 'w') is missing"),
        ("external outside", "'../secret.bin', which is not a plain name"),
        ("external absolute", "'/etc/passwd', which is not a plain name"),
        (
            "external past the end",
            "tensor 'w' ends at byte 192 of external file 'weights.bin', which has 128",
        ),
        ("external link", "symbolic link"),
    ],
)
def test_a_model_that_can_not_be_taken(farm: FarmCommand, command: str, name: str, message: str) -> None:
    folder = farm.folder / "models"
    folder.mkdir()
    path = _broken_model(name, folder)
    said = farm.refused(command, path, code=2)
    assert f"error: {path}: " in said
    assert message in said
    assert not farm.has_anything()
