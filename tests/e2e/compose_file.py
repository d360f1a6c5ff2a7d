"""docker-compose.yml as compose reads it, for tests."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.e2e.driver import ROOT

DEPLOY = ROOT / "deploy"


def interpolated(value: Any) -> Any:
    """As compose does where no variable is set: `${NAME:-default}`."""
    if isinstance(value, str):
        return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
    if isinstance(value, dict):
        return {key: interpolated(item) for key, item in value.items()}
    return [interpolated(item) for item in value] if isinstance(value, list) else value


COMPOSE: dict[str, Any] = interpolated(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))
SERVICES: dict[str, Any] = COMPOSE["services"]
#: Run once and end well.
STEPS = ("bucket", "migrate", "keys")
GPU_WORKERS = sorted(name for name, service in SERVICES.items() if service.get("profiles") == ["gpu"])
