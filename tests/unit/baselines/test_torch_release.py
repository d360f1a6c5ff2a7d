"""Which PyTorch is there and where it runs models, from its files alone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import DeviceUnavailableError
from farm.domain.targets import DeviceKind, ToolchainId
from workers.toolchains import load_toolchain, torch_release
from workers.toolchains.torch_release import installed_torch

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that packages are found in, on a host without a GPU."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    give_gpu(monkeypatch, has_one=False)
    return tmp_path


def give_gpu(monkeypatch: pytest.MonkeyPatch, *, has_one: bool) -> None:
    def require_device() -> None:
        if not has_one:
            raise DeviceUnavailableError("the NVIDIA driver shows no GPU to this process")

    monkeypatch.setattr(torch_release, "require_device", require_device)


def install(folder: Path, version: str, cuda: str) -> None:
    """The files of a PyTorch that can not be imported."""
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text("raise AssertionError('imported')\n")
    (folder / "torch" / "version.py").write_text(
        f"from typing import Optional\n__version__ = '{version}'\ncuda: Optional[str] = {cuda}\nhip: Optional[str] = None\n"
    )
    info = folder / f"torch-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")


def test_where_there_is_none_its_toolchains_do_not_load(packages: Path) -> None:
    assert list(packages.iterdir()) == []
    with pytest.raises(ModuleNotFoundError, match="No module named 'torch'"):
        load_toolchain("torch")


def test_a_build_for_cpus_serves_the_cpu(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(packages, "2.13.0+cpu", "None")
    give_gpu(monkeypatch, has_one=True)
    found = installed_torch()
    assert (found.serves, found.device) == (DeviceKind.CPU, "cpu")
    assert found.id("torch") == ToolchainId("torch", "2.13.0", "cpu")


def test_a_build_for_cuda_serves_the_gpu_that_the_driver_shows(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(packages, "2.11.0+cu130", "'13.0'")
    give_gpu(monkeypatch, has_one=True)
    found = installed_torch()
    assert (found.serves, found.device) == (DeviceKind.GPU, "cuda")
    assert found.id("torch-compile") == ToolchainId("torch-compile", "2.11.0", "cu130")
    description = load_toolchain("torch").describe()
    assert description.supported_precisions == ("fp32", "tf32", "fp16", "bf16")
    assert "cudnn_benchmark" in {option.name for option in description.options}


def test_without_a_gpu_it_serves_the_cpu(packages: Path) -> None:
    install(packages, "2.11.0", "'13.0'")
    found = installed_torch()
    assert (found.serves, found.id("torch").variant) == (DeviceKind.CPU, "cu130")
    assert "cudnn_benchmark" not in {option.name for option in load_toolchain("torch").describe().options}


def test_one_that_is_too_old_is_refused(packages: Path) -> None:
    install(packages, "2.2.2", "None")
    with pytest.raises(ImportError, match=r"PyTorch 2\.2\.2 is too old: 2\.6 is the oldest"):
        installed_torch()
