"""Which engines a TensorRT can load, by the headers of their files."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import BuildError
from workers.toolchains.trt_plan import RTX_MAGIC, TENSORRT_MAGIC, check_plan

if TYPE_CHECKING:
    from pathlib import Path


def plan(path: Path, magic: bytes, version: tuple[int, ...], flag: int = 0) -> Path:
    path.write_bytes(magic + struct.pack("<I", flag) + bytes(16) + bytes(version) + bytes(40))
    return path


@pytest.mark.parametrize(
    ("magic", "version", "flag", "running", "complaint"),
    [
        (b"ftrt", (8, 6, 1, 6), 0, (8, 6, 0), r"built by TensorRT 8\.6\.1, this is TensorRT 8\.6\.0"),
        (
            b"ftrt",
            (10, 16, 1, 11),
            0,
            (8, 5, 3, 1),
            r"built by TensorRT 10\.16\.1\.11, this is TensorRT 8\.5",
        ),
        (b"ftrt", (0, 0, 0, 0), 9, (8, 6, 0), r"built by TensorRT 8\.5 or older"),
        (b"ptrt", (0, 0, 0, 0), 9, (8, 6, 0), r"built by TensorRT 8\.5 or older"),
        (b"vtrt", (1, 7, 1, 116), 0, (8, 6, 0), r"built by TensorRT-RTX, this is TensorRT 8\.6\.0"),
        (b"PK\3\4", (0, 0, 0, 0), 0, (8, 6, 0), "is not an engine of TensorRT"),
    ],
)
def test_foreign_plans_are_told_apart(
    tmp_path: Path,
    magic: bytes,
    version: tuple[int, ...],
    flag: int,
    running: tuple[int, ...],
    complaint: str,
) -> None:
    with pytest.raises(BuildError, match=complaint):
        check_plan(plan(tmp_path / "e.plan", magic, version, flag), TENSORRT_MAGIC, running)


@pytest.mark.parametrize(
    ("magic", "version", "flag", "running"),
    [
        (b"ftrt", (8, 6, 0, 12), 0, (8, 6, 0)),
        (b"ftrt", (8, 6, 1, 6), 0, (8, 6, 1)),
        (b"ptrt", (0, 0, 0, 0), 9, (8, 5, 3, 1)),
        (b"xxxx", (0, 0, 0, 0), 9, (8, 5, 3, 1)),  # 8.5 judges its own plans
        (b"ftrt", (11, 4, 0, 300 % 256), 0, (11, 4, 0, 300)),
    ],
)
def test_plans_of_this_release_pass(
    tmp_path: Path, magic: bytes, version: tuple[int, ...], flag: int, running: tuple[int, ...]
) -> None:
    check_plan(plan(tmp_path / "e.plan", magic, version, flag), TENSORRT_MAGIC, running)


def test_rtx_tells_tensorrt_plans_and_its_own_versions(tmp_path: Path) -> None:
    check_plan(plan(tmp_path / "a", b"vtrt", (1, 7, 1, 116)), RTX_MAGIC, (1, 7, 1, 116))
    with pytest.raises(
        BuildError, match=r"built by TensorRT-RTX 1\.6\.1\.120, this is TensorRT-RTX 1\.7\.1\.116"
    ):
        check_plan(plan(tmp_path / "b", b"vtrt", (1, 6, 1, 120)), RTX_MAGIC, (1, 7, 1, 116))
    (tmp_path / "c").write_bytes(b"vtrt")
    with pytest.raises(BuildError, match="cut short"):
        check_plan(tmp_path / "c", RTX_MAGIC, (1, 7, 1, 116))
