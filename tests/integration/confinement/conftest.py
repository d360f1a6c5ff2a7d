"""Attempts and farms for confined children."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.fake_toolchain.attempt import Attempt

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """Makes attempts."""
    return lambda *script: Attempt(tmp_path, *script)
