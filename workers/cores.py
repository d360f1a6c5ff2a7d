# ruff: noqa: D102, N802 - the names are NVML's
"""Which processor cores belong to which GPU of a host: builds side by side slow each other down where they share them.

Four builds at once on four H200s of a host with 64 cores took 9.74 s each, and 8.92 s with a quarter of the cores for
each, against 8.68 s alone (`benchmarks/gpu_bare.py`, docs/results/h200-fleet/bare.json).
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol, cast

from farm.domain.targets import DeviceKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from farm.domain.targets import Device

_BITS = 64


class AffinityNvml(Protocol):
    """What the look uses of the module `pynvml` (nvidia-ml-py)."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any: ...
    def nvmlDeviceGetCpuAffinity(self, handle: Any, words: int) -> Sequence[int]: ...


def share_cores(devices: Sequence[Device], nvml: AffinityNvml | None = None) -> dict[str, list[int]]:
    """The cores of each GPU, by its UUID: those that are near it, shared evenly with the others that they are near to.

    Of the cores that this process may use, so that what an operator or a container allows holds. A GPU that would
    get none, and a CPU, are left out: they use all.

    Args:
        devices: that are served side by side.
        nvml: the module `pynvml`, imported now if left out.
    """
    allowed = sorted(os.sched_getaffinity(0))
    uuids = [device.uuid for device in devices if device.device_type.kind is DeviceKind.GPU]
    if len(uuids) < 2:
        return {}
    near = {
        uuid: tuple(core for core in cores if core in allowed) for uuid, cores in _near(uuids, nvml).items()
    }
    groups: dict[tuple[int, ...], list[str]] = {}
    for uuid in uuids:
        groups.setdefault(near.get(uuid) or tuple(allowed), []).append(uuid)
    shares = {}
    for cores, members in groups.items():
        count = len(cores) // len(members)
        for place, uuid in enumerate(members):
            if count:
                shares[uuid] = list(cores[place * count : (place + 1) * count])
    return shares


def keep_to_cores(cores: Collection[int]) -> None:
    """Has this process and all that it starts use these cores alone, if the kernel lets it."""
    with suppress(OSError):
        os.sched_setaffinity(0, cores)


def _near(uuids: Sequence[str], nvml: AffinityNvml | None) -> dict[str, list[int]]:
    """The cores that are near each GPU, as far as NVML says."""
    if nvml is None:
        try:
            import pynvml  # type: ignore[import-untyped,unused-ignore]
        except ImportError:
            return {}
        nvml = cast("AffinityNvml", pynvml)
    words = ((os.cpu_count() or 1) + _BITS - 1) // _BITS
    found = {}
    try:
        nvml.nvmlInit()
        for uuid in uuids:
            # A MIG slice has no affinity of its own, and some virtual machines tell none.
            with suppress(nvml.NVMLError, AttributeError):
                mask = nvml.nvmlDeviceGetCpuAffinity(nvml.nvmlDeviceGetHandleByUUID(uuid), words)
                found[uuid] = [
                    word * _BITS + bit
                    for word, bits in enumerate(mask)
                    for bit in range(_BITS)
                    if bits >> bit & 1
                ]
    except nvml.NVMLError:
        return {}
    with suppress(nvml.NVMLError):
        nvml.nvmlShutdown()
    return found
