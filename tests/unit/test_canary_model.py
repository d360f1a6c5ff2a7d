"""The model that comes with the farm is what its script makes, byte by byte, and small."""

from __future__ import annotations

from examples.make_canary import canary
from farm.samples import canary_model


def test_the_script_makes_the_very_model() -> None:
    assert canary_model().read_bytes() == canary().SerializeToString()


def test_it_is_small() -> None:
    assert canary_model().stat().st_size < 300_000
