"""Targets: the device type and the toolchain that an engine is specific to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

from farm.domain.errors import InvalidSpecError


class DeviceKind(str, Enum):
    """What sort of thing runs an engine."""

    GPU = "gpu"
    CPU = "cpu"
    #: Any GPU of one compute capability: what an ahead-of-time toolchain builds for.
    COMPUTE_CAPABILITY = "compute-capability"


@dataclass(frozen=True)
class DeviceType:
    """What an engine is specific to; part of its key.

    Attributes:
        kind: GPU, CPU, or any GPU of one compute capability.
        product_name: as the driver or the kernel says it, such as `NVIDIA H200`.
        compute_capability: `9.0`; empty for a CPU.
        units: streaming multiprocessors of a GPU, usable cores of a CPU; 0 where open.
        memory_gib: a GPU's memory rounded to GiB (the exact size moves with the driver); 0 where open.
        variant: a MIG profile such as `1g.18gb`, or a CPU's widest vector extension such as `avx512`.
    """

    kind: DeviceKind
    product_name: str
    compute_capability: str = ""
    units: int = 0
    memory_gib: int = 0
    variant: str = ""

    @property
    def slug(self) -> str:
        """The name that people type: `nvidia-h200`, `cpu-amd-epyc-9334-16c-avx512`, `any-sm89`."""
        if self.kind is DeviceKind.COMPUTE_CAPABILITY:
            return f"any-sm{self.compute_capability.replace('.', '')}"
        name = _slug(self.product_name)
        if self.kind is DeviceKind.CPU:
            return "-".join(filter(None, ["cpu", name, f"{self.units}c", self.variant]))
        return f"{name}-mig-{self.variant}" if self.variant else name

    @property
    def distinct_slug(self) -> str:
        """A longer name, for a product that is sold with several sizes under one name."""
        return f"{self.slug}-{self.units}sm-{self.memory_gib}gib"

    def as_json(self) -> dict[str, Any]:
        """The identity of the type: what goes into the key of an engine."""
        return {
            "kind": self.kind.value,
            "product_name": self.product_name,
            "compute_capability": self.compute_capability,
            "units": self.units,
            "memory_gib": self.memory_gib,
            "variant": self.variant,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> DeviceType:
        """The inverse of `as_json`."""
        return cls(**{**value, "kind": DeviceKind(value["kind"])})

    @classmethod
    def any_of(cls, compute_capability: str) -> DeviceType:
        """Any GPU of one compute capability."""
        return cls(
            DeviceKind.COMPUTE_CAPABILITY,
            f"any GPU of compute capability {compute_capability}",
            compute_capability,
        )


@dataclass(frozen=True)
class Device:
    """One physical GPU, MIG slice or CPU.

    Attributes:
        uuid: NVML's UUID of the GPU; for a CPU one made from the host's machine id.
        device_type: what it is.
        index: NVML's index; 0 for the CPU.
        memory_mib: exact size in MiB.
        driver_version: of the NVIDIA driver; empty for a CPU.
        host: name of the machine that it is in.
    """

    uuid: str
    device_type: DeviceType
    index: int = 0
    memory_mib: int = 0
    driver_version: str = ""
    host: str = ""


@dataclass(frozen=True, order=True)
class ToolchainId:
    """A build software stack with its exact version.

    Attributes:
        name: `tensorrt`, `tensorrt-rtx`, `onnxruntime`, …
        version: exact, such as `8.6.0`.
        variant: what it was built against, such as `cu12`; empty if there is only one.
    """

    name: str
    version: str
    variant: str = ""

    def __str__(self) -> str:
        """`tensorrt 8.6.0`, as people say it."""
        return f"{self.name} {self.version}"

    @property
    def slug(self) -> str:
        """`tensorrt-8.6.0-cu12`, for queue names and folders."""
        return "-".join(filter(None, [self.name, self.version, self.variant]))

    @property
    def version_order(self) -> tuple[int, ...]:
        """Sorts versions by their numbers."""
        return tuple(int(number) for number in re.findall(r"\d+", self.version))

    def matches(self, wanted: str) -> bool:
        """Whether `tensorrt`, `tensorrt@8.6` or `tensorrt@8.6.0` means this toolchain."""
        name, _, version = wanted.partition("@")
        if name != self.name:
            return False
        return not version or self.version == version or self.version.startswith(version + ".")

    def as_json(self) -> dict[str, str]:
        """What goes into the key of an engine."""
        return {"name": self.name, "version": self.version, "variant": self.variant}

    @classmethod
    def from_json(cls, value: dict[str, str]) -> ToolchainId:
        """The inverse of `as_json`."""
        return cls(**value)


@dataclass(frozen=True)
class Target:
    """The pair that an engine is specific to."""

    device_type: DeviceType
    toolchain: ToolchainId

    @property
    def queue(self) -> str:
        """The Celery queue that wakes workers of this target."""
        return f"farm.{self.device_type.distinct_slug}.{self.toolchain.slug}"

    def __str__(self) -> str:
        """`nvidia-h200 · tensorrt 8.6.0`."""
        return f"{self.device_type.slug} · {self.toolchain}"


def parse_toolchain(text: str) -> str:
    """Checks the form of `name` or `name@version` and gives it back.

    Raises:
        InvalidSpecError: the text has another form.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*(@\d+(\.\d+)*)?", text):
        raise InvalidSpecError(
            f"not a toolchain: {text!r}", hint="Write a name or name@version, such as tensorrt@8.6."
        )
    return text


def _slug(text: str) -> str:
    plain = re.sub(r"\((r|tm|c)\)|\bcpu\b|@", " ", text.lower())
    return re.sub(r"[^a-z0-9.]+", "-", plain).strip("-")
