"""Settings as documents, so that a process of a fleet gets exactly those of its test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection

_FOLDERS = ("home", "store", "scratch", "locks", "signing_key", "trusted_keys", "toolchains")


def settings_as_document(settings: Settings, only: Collection[str] | None = None) -> dict[str, Any]:
    """What `settings_from` reads; only some of it, for a release that knows no more."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(settings).items()
        if only is None or name in only
    }


def settings_from(values: dict[str, Any]) -> Settings:
    """The settings that a document holds."""
    folders = {name: Path(values[name]) for name in _FOLDERS if values.get(name)}
    return Settings(**{**values, **folders})
