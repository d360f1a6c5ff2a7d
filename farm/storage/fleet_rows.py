"""Rows of devices, toolchains and workers as values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.targets import Device, DeviceKind, DeviceType, Target, ToolchainId

if TYPE_CHECKING:
    from sqlalchemy import Row


def target_from_row(row: Row[Any]) -> Target:
    """A row with the columns of `device_types`, and name, version and `toolchain_variant` of a toolchain."""
    return Target(device_type_from_row(row), ToolchainId(row.name, row.version, row.toolchain_variant))


def target_from_rows(device_type: Row[Any], toolchain: Row[Any]) -> Target:
    """A row of `device_types` and one of `toolchains`."""
    return Target(
        device_type_from_row(device_type), ToolchainId(toolchain.name, toolchain.version, toolchain.variant)
    )


def device_type_from_row(row: Row[Any]) -> DeviceType:
    """A row with the columns of `device_types`."""
    return DeviceType(
        DeviceKind(row.kind), row.product_name, row.compute_capability, row.units, row.memory_gib, row.variant
    )


def device_from_labelled_row(row: Row[Any]) -> Device:
    """A row with the columns of `devices` and `device_types`, each after its table's name."""
    device_type = DeviceType(
        DeviceKind(row.device_types_kind),
        row.device_types_product_name,
        row.device_types_compute_capability,
        row.device_types_units,
        row.device_types_memory_gib,
        row.device_types_variant,
    )
    return Device(
        row.devices_uuid,
        device_type,
        row.devices_position,
        row.devices_memory_mib,
        row.devices_driver_version,
        row.devices_host,
    )
