"""What an interpreter offers: every toolchain that loads, and why the others do not."""

from __future__ import annotations

import platform
import sys
from typing import Any

from workers.toolchains import MODULES, load_toolchain


def probe() -> dict[str, Any]:
    """Descriptions of the toolchains here, by name, and the reasons of those that do not load."""
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name in MODULES:
        try:
            found[name] = load_toolchain(name).describe().as_json()
        except Exception as error:  # noqa: BLE001 - a broken library makes its toolchain unavailable, nothing else
            missing[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return {
        "toolchains": found,
        "missing": missing,
        "python": platform.python_version(),
        "interpreter": sys.executable,
    }
