"""From the words of a user to targets: which device types, which toolchains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.baselines import ONLY_BASELINES
from farm.domain.errors import UnsupportedTargetError
from farm.domain.suggestions import did_you_mean
from farm.domain.targets import DeviceKind, DeviceType, Target, parse_toolchain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from farm.domain.targets import ToolchainId
    from farm.domain.toolchains import ToolchainDescription
    from farm.services.ports import Transaction

ALL = "all"


def slugs_of(transaction: Transaction) -> dict[DeviceType, str]:
    """What every known device type is called."""
    return {device_type: slug for slug, device_type in transaction.fleet.device_types().items()}


def resolve_targets(
    transaction: Transaction, gpus: Sequence[str], toolchains: Sequence[str]
) -> list[tuple[str, Target, ToolchainDescription]]:
    """Every (slug of the device type, target, toolchain) that the words mean, in the order given.

    A word for a device is its slug (`nvidia-h200`), a whole part of it (`h200`, `l4`, `sm89`), a kind
    (`cpu`, `gpu`) or `all`. A word for a toolchain is `tensorrt`, `tensorrt@8.6` or `all`; without
    one each device gets the newest version of every toolchain that serves it. Toolchains that are there to be compared
    with (`ONLY_BASELINES`) must be named.

    Raises:
        UnsupportedTargetError: a word means nothing, or no toolchain serves the device.
    """
    device_types = transaction.fleet.device_types()
    if not device_types:
        raise UnsupportedTargetError(
            "no device is known to this farm yet", hint="Start a worker on a machine to build for: `farm up`."
        )
    descriptions = {description.id: description for description in transaction.fleet.toolchains()}
    known = transaction.fleet.known_targets()
    for word in toolchains:
        if word != ALL and not any(id_.matches(parse_toolchain(word)) for id_ in descriptions):
            raise UnsupportedTargetError(
                f"no toolchain {word!r} is known to this farm",
                hint=did_you_mean(word, [f"{id_.name}@{id_.version}" for id_ in descriptions]),
            )
    found: list[tuple[str, Target, ToolchainDescription]] = []
    # What a word names must be served; `all` means what is.
    is_named = bool(gpus) and ALL not in gpus
    for slug in _slugs(device_types, gpus or [ALL]):
        device_type = device_types[slug]
        ids = [id_ for type_, id_ in known if type_ == device_type]
        chosen = _chosen(ids, toolchains)
        if not chosen and is_named:
            raise UnsupportedTargetError(
                f"no {_toolchain_words(toolchains)} has served {slug} yet",
                hint=f"Known for it: {', '.join(sorted(f'{i.name}@{i.version}' for i in ids)) or 'none'}.",
            )
        found += [(slug, Target(device_type, id_), descriptions[id_]) for id_ in chosen]
    if not found:
        raise UnsupportedTargetError(f"no {_toolchain_words(toolchains)} serves any known device")
    return found


def match_devices(device_types: Mapping[str, DeviceType], word: str) -> list[str]:
    """The slugs that one word means; empty if none."""
    plain = word.lower()
    if plain == ALL:
        return list(device_types)
    if plain in device_types:
        return [plain]
    if plain in (DeviceKind.CPU.value, DeviceKind.GPU.value):
        return [slug for slug, type_ in device_types.items() if type_.kind.value == plain]
    # `h200` is a whole part of `nvidia-h200`; `rtx-4090` is two in a row.
    return [slug for slug in device_types if f"-{plain}-" in f"-{slug}-"]


def named_devices(device_types: Mapping[str, DeviceType], word: str) -> list[str]:
    """The slugs that one word means.

    Raises:
        UnsupportedTargetError: it means none.
    """
    found = match_devices(device_types, word)
    if not found:
        raise UnsupportedTargetError(
            f"unknown GPU {word!r}: no worker with such a device has ever registered",
            hint=did_you_mean(word, device_types),
        )
    return found


def _slugs(device_types: Mapping[str, DeviceType], words: Sequence[str]) -> list[str]:
    slugs: list[str] = []
    for word in words:
        slugs += [slug for slug in named_devices(device_types, word) if slug not in slugs]
    return slugs


def _toolchain_words(words: Sequence[str]) -> str:
    return " ".join(filter(None, ["toolchain", " or ".join(words)]))


def _age(id_: ToolchainId) -> tuple[tuple[int, ...], str]:
    """Oldest first; the variant decides between equal versions, so that the choice is always the same."""
    return id_.version_order, id_.variant


def _chosen(ids: Sequence[ToolchainId], words: Sequence[str]) -> list[ToolchainId]:
    # What engines are compared with is measured where somebody asks for it.
    engines = [id_ for id_ in ids if id_.name not in ONLY_BASELINES]
    if ALL in words:
        return sorted(engines, key=lambda id_: (id_.name, _age(id_)))
    if not words:
        newest: dict[str, ToolchainId] = {}
        for id_ in sorted(engines, key=_age):
            newest[id_.name] = id_
        return [newest[name] for name in sorted(newest)]
    chosen: list[ToolchainId] = []
    for word in words:
        matching = [id_ for id_ in ids if id_.matches(word)]
        newest_match = max(matching, key=_age, default=None)
        if newest_match is not None and newest_match not in chosen:
            chosen.append(newest_match)
    return chosen
