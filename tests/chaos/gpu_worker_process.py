"""`python -m tests.chaos.gpu_worker_process DOCUMENT`: a worker of a GPU that is lost while a file says so."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.domain.targets import DeviceKind, DeviceType
from tests.fake_nvml import FakeGpu, FakeNvml
from tests.fake_toolchain import worker_process
from tests.fake_toolchain.toolchain import DESCRIPTION

if TYPE_CHECKING:
    from workers.devices import MemoryInfo

GPU = DeviceType(DeviceKind.GPU, "Test GPU", "9.0", 8, 8)
#: The fake toolchain, on GPUs.
GPU_DESCRIPTION = replace(DESCRIPTION, serves=DeviceKind.GPU)


class _NvmlOfFiles(FakeNvml):
    """An NVML whose GPU is lost while there is a file.

    Args:
        uuid: of the one GPU.
        mark: the file.
    """

    def __init__(self, uuid: str, mark: Path) -> None:
        super().__init__([FakeGpu(GPU.product_name, uuid)])
        self._mark = mark

    def nvmlDeviceGetMemoryInfo(self, handle: FakeGpu) -> MemoryInfo:  # noqa: N802 - NVML's name
        handle.lost = self._mark.exists()
        return super().nvmlDeviceGetMemoryInfo(handle)


def main(document: dict[str, Any]) -> None:
    """Serves its GPU until it is told to stop."""
    nvml = _NvmlOfFiles(document["device"], Path(document["fake"]) / f"lost-{document['device']}")
    sys.modules["pynvml"] = nvml  # type: ignore[assignment]
    worker_process.CPU = GPU  # type: ignore[misc]
    worker_process.DESCRIPTION = GPU_DESCRIPTION  # type: ignore[misc]
    worker_process.main(document)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
