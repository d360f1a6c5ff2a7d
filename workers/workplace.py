"""What a worker works with, and the ways in which an attempt can end before its time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farm.domain.errors import FarmError, UnsupportedTargetError
from farm.domain.targets import DeviceKind

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping
    from pathlib import Path

    from farm.bootstrap import Farm
    from farm.domain.jobs import Failure
    from farm.domain.targets import Device, ToolchainId
    from farm.domain.timing_caches import CacheKey
    from farm.storage.signing import Signer
    from workers.pulse import Pulse


@dataclass(frozen=True)
class Workplace:
    """What a worker works with.

    Attributes:
        farm: the open farm.
        worker_id: recorded on attempts.
        name: by which it is drained and resumed.
        device: the one device that it serves.
        interpreters: where each toolchain lives.
        reference_python: an interpreter with ONNX Runtime.
        reference_toolchain: which ONNX Runtime that is; empty if there is none.
        code: folder that holds the packages of a child.
        stopping: set when the worker is told to stop.
        pulse: how it says that it lives.
        signer: the key that signs what it builds.
        environments: variables that an operator gave to the children of a toolchain.
        uncombinable: timing caches that a builder has refused to combine.
    """

    farm: Farm
    worker_id: str
    name: str
    device: Device
    interpreters: Mapping[ToolchainId, Path]
    reference_python: Path
    reference_toolchain: str
    code: Path
    stopping: threading.Event
    pulse: Pulse
    signer: Signer
    environments: Mapping[ToolchainId, Mapping[str, str]] = field(default_factory=dict)
    uncombinable: set[CacheKey] = field(default_factory=set)

    def require_onnxruntime(self, why: str) -> None:
        """Refuses what nothing here can do without ONNX Runtime.

        Args:
            why: what needs it, such as `fp16 needs a conversion of the model`.

        Raises:
            UnsupportedTargetError: the worker's environment has none.
        """
        if not self.reference_toolchain:
            raise UnsupportedTargetError(
                f"{why}, and this worker's environment has no ONNX Runtime",
                hint="pip install onnxruntime in the farm's own environment on that host.",
            )

    def environment_for(self, toolchain: ToolchainId) -> dict[str, str]:
        """What a child of a toolchain gets beside what every child gets: it sees this worker's device alone."""
        visible = self.device.uuid if self.device.device_type.kind is DeviceKind.GPU else ""
        return {
            **self.environments.get(toolchain, {}),
            "CUDA_VISIBLE_DEVICES": visible,
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        }


class StoppedError(Exception):
    """The attempt is to end without an outcome of its own: cancelled, superseded, or the worker stops.

    Args:
        drain_reason: why its worker is not to take another job; empty if that is not the attempt's to say.
    """

    def __init__(self, drain_reason: str = "") -> None:
        super().__init__(drain_reason)
        self.drain_reason = drain_reason


class ChildFailedError(FarmError):
    """Carries a failure that a child recorded, as it is."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message, hint=failure.hint)
        self.failure = failure
