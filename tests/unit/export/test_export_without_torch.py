"""Where PyTorch is not installed."""

from __future__ import annotations

import sys

import pytest

from farm.domain.errors import InvalidRequestError
from workers.export.torch_import import load_torch


@pytest.mark.parametrize("name", ["torch", "onnxscript"])
def test_the_command_that_installs_it_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidRequestError, match=f"needs {name}, which is not installed") as caught:
        load_torch()
    assert caught.value.hint == "pip install 'engine-farm[torch]'"
