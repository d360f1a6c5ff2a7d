"""What a device of this machine can serve, with the interpreters that are here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farm.domain.errors import InvalidRequestError, UnsupportedTargetError
from farm.domain.suggestions import did_you_mean
from farm.domain.targets import Device, DeviceKind, DeviceType
from workers.converters import with_converters
from workers.devices import discover_devices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from farm.domain.targets import ToolchainId
    from farm.domain.toolchains import ToolchainDescription
    from workers.interpreters import Interpreter


def choose_devices(words: Sequence[str], *, with_cpu: bool) -> list[Device]:
    """The devices of this machine that the words mean: a UUID, its beginning, an index, `gpu`, `cpu` or `all`.

    Args:
        words: what the operator wrote; none for all GPUs, and the CPU if there is no GPU.
        with_cpu: whether the CPU is served beside GPUs when no word is given.

    Raises:
        InvalidRequestError: a word means no device here.
    """
    found = discover_devices()
    gpus = [device for device in found if device.device_type.kind is DeviceKind.GPU]
    if not words:
        return found if with_cpu or not gpus else gpus
    chosen: list[Device] = []
    for word in words:
        matching = [device for device in found if is_meant(device, word)]
        if not matching:
            raise InvalidRequestError(
                f"this machine has no device {word!r}", hint=did_you_mean(word, [d.uuid for d in found])
            )
        chosen += [device for device in matching if device not in chosen]
    return chosen


def is_meant(device: Device, word: str) -> bool:
    """Whether a word means a device: its UUID, the beginning of it, a GPU's index, its kind, or `all`."""
    kind = device.device_type.kind
    return (
        word in ("all", kind.value)
        or bool(word and device.uuid.lower().startswith(word.lower()))
        or (kind is DeviceKind.GPU and word == str(device.index))
    )


def served_device_types(device: Device, toolchains: Sequence[ToolchainDescription]) -> tuple[DeviceType, ...]:
    """What a worker of a device builds for: the device itself, and capabilities built for ahead of time.

    A GPU's worker leaves other capabilities to the hosts without a GPU: its time is worth more.
    """
    capabilities = sorted(
        {
            capability
            for toolchain in toolchains
            if toolchain.serves is DeviceKind.COMPUTE_CAPABILITY
            for capability in toolchain.compute_capabilities
        },
        key=lambda capability: [int(number) for number in capability.split(".")],
    )
    if device.device_type.kind is DeviceKind.GPU:
        capabilities = [c for c in capabilities if c == device.device_type.compute_capability]
    candidates = [device.device_type, *map(DeviceType.any_of, capabilities)]
    return tuple(
        device_type for device_type in candidates if any(t.can_serve(device_type) for t in toolchains)
    )


@dataclass(frozen=True)
class Offer:
    """What a machine could serve.

    Attributes:
        device: the one device.
        toolchains: by id the interpreter it lives in; the first interpreter that has it wins.
        descriptions: of those toolchains.
        device_types: what it builds for.
        environments: of the toolchains whose children an operator gave more variables.
    """

    device: Device
    toolchains: dict[ToolchainId, Path]
    descriptions: tuple[ToolchainDescription, ...]
    device_types: tuple[DeviceType, ...]
    environments: dict[ToolchainId, Mapping[str, str]] = field(default_factory=dict)


def offer_of(device: Device, interpreters: Sequence[Interpreter]) -> Offer:
    """What a device and some interpreters come to.

    Raises:
        UnsupportedTargetError: nothing serves the device.
    """
    homes: dict[ToolchainId, Path] = {}
    descriptions: list[ToolchainDescription] = []
    environments: dict[ToolchainId, Mapping[str, str]] = {}
    for interpreter in interpreters:
        if interpreter.devices and not any(is_meant(device, word) for word in interpreter.devices):
            continue
        for toolchain in interpreter.toolchains:
            if toolchain.id not in homes:
                homes[toolchain.id] = interpreter.path
                environments[toolchain.id] = interpreter.environment
                descriptions.append(with_converters(toolchain))
    device_types = served_device_types(device, descriptions)
    if not device_types:
        raise UnsupportedTargetError(
            f"no toolchain here serves {device.device_type.slug}",
            hint="Name an interpreter that has TensorRT: --toolchain-python PATH. `farm doctor` says what is missing.",
        )
    useful = tuple(d for d in descriptions if any(d.can_serve(type_) for type_ in device_types))
    return Offer(device, homes, useful, device_types, environments)


def worker_name(device: Device, name: str = "") -> str:
    """What a worker of a device is called: `gpu07-3` for the fourth GPU of gpu07, `gpu07-cpu` for its CPU.

    Args:
        device: that it serves.
        name: in place of the host's.
    """
    position = "cpu" if device.device_type.kind is DeviceKind.CPU else str(device.index)
    return f"{name or device.host}-{position}"
