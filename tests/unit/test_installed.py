"""What an interpreter has is read from the metadata of its packages, and nothing is imported for it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from farm.domain.targets import ToolchainId
from workers.installed import installed_toolchains

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that packages are found in."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    return tmp_path


def install(folder: Path, name: str, version: str) -> None:
    """Metadata of a package, without the package."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_where_nothing_is_installed_there_is_nothing(packages: Path) -> None:
    assert list(packages.iterdir()) == []
    assert installed_toolchains() == ()


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_cu11", "tensorrt_cu12", "tensorrt_cu13"])
def test_tensorrt_is_known_by_the_name_of_any_of_its_packages(packages: Path, name: str) -> None:
    install(packages, name, "10.1.0")
    assert installed_toolchains() == (ToolchainId("tensorrt", "10.1.0"),)


def test_every_toolchain_is_named_once(packages: Path) -> None:
    for name, version in (
        ("onnxruntime", "1.23.2"),
        ("onnxruntime_gpu", "1.23.2"),
        ("tensorrt", "10.1.0"),
        ("tensorrt_cu12", "10.1.0"),
        ("tensorrt_rtx", "1.7.1"),
    ):
        install(packages, name, version)
    assert installed_toolchains() == (
        ToolchainId("onnxruntime", "1.23.2"),
        ToolchainId("tensorrt", "10.1.0"),
        ToolchainId("tensorrt-rtx", "1.7.1"),
    )
