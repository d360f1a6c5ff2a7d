"""What a host converts models with decides what its toolchains do there."""

from __future__ import annotations

import pytest

from farm.domain.precisions import PRECISIONS
from tests.factories import a_toolchain
from workers import converters
from workers.converters import with_converters

TYPED = a_toolchain(name="tensorrt-rtx", version="1.7.1", precisions=dict.fromkeys(PRECISIONS, ""))


@pytest.fixture(params=["modelopt", "torch"])
def missing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One of the two packages is not there."""
    name: str = request.param
    monkeypatch.setattr(converters, "find_spec", lambda package: None if package == name else object())
    return name


@pytest.mark.usefixtures("missing")
def test_without_modelopt_bf16_is_refused_with_how_to_get_it() -> None:
    found = with_converters(TYPED)
    assert "pip install 'engine-farm[modelopt]'" in found.why_not("bf16")
    assert "nearest: fp16" in found.why_not("bf16")
    assert set(TYPED.supported_precisions) - set(found.supported_precisions) == {"bf16"}


@pytest.mark.usefixtures("missing")
def test_a_toolchain_with_flags_needs_nothing() -> None:
    weakly = a_toolchain(version="10.16.1", precisions=dict.fromkeys(PRECISIONS, ""))
    assert with_converters(weakly) == weakly


def test_with_modelopt_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converters, "find_spec", lambda _package: object())
    assert with_converters(TYPED) == TYPED
