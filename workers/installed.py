"""Which toolchains this interpreter has, by the metadata of its packages: nothing is imported."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from farm.domain.targets import ToolchainId

_PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    # The first one only brings one of the others along, which may be there without it.
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12", "tensorrt-cu11"),
    "tensorrt-rtx": ("tensorrt-rtx", "tensorrt_rtx"),
    "torch-tensorrt": ("torch-tensorrt", "torch-tensorrt-rtx"),
}


def installed_toolchains() -> tuple[ToolchainId, ...]:
    """Names and versions; the variant is left open, since metadata does not tell it."""
    found = []
    for name, packages in _PACKAGES.items():
        for package in packages:
            try:
                found.append(ToolchainId(name, version(package)))
                break
            except PackageNotFoundError:
                continue
    return tuple(found)
