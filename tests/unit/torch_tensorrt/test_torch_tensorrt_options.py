"""Options and precisions of Torch-TensorRT follow from what the installed release's `compile` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm.domain.errors import InvalidSpecError
from farm.domain.precisions import PRECISIONS
from farm.domain.targets import ToolchainId
from farm.domain.toolchains import ToolchainDescription
from tests.unit.torch_tensorrt.surface import Surface
from workers.toolchains.torch_tensorrt_options import (
    compile_parameters,
    options_of,
    precision_arguments,
    precisions_of,
    settings_of,
)

if TYPE_CHECKING:
    import inspect

RELEASES = ("2.11.0", "2.14.0")
ID = ToolchainId("torch-tensorrt", "2.11.0", "torch2.11.0-trt10.15.1")


def parameters(version: str = "2.11.0") -> dict[str, inspect.Parameter]:
    return dict(compile_parameters(Surface(version)))


def description(version: str) -> ToolchainDescription:
    return ToolchainDescription(ID, precisions_of(ID), options_of(parameters(version)))


@pytest.mark.parametrize("version", RELEASES)
def test_every_default_is_the_releases_own(version: str) -> None:
    own = parameters(version)
    for option in options_of(own):
        default = own[option.name].default
        if default is not None:
            assert option.default == (default.upper() if isinstance(default, str) else default), option.name
        # As in the key: what is said and is the default anyway is dropped.
        assert description(version).normalise({option.name: option.default}) == {}


def test_an_option_that_the_release_lacks_is_not_offered() -> None:
    own = parameters()
    del own["decompose_attention"]
    assert "decompose_attention" in {option.name for option in options_of(parameters())}
    assert "decompose_attention" not in {option.name for option in options_of(own)}


def test_a_changed_default_is_the_default() -> None:
    own = parameters()
    own["min_block_size"] = own["min_block_size"].replace(default=1)
    assert {option.name: option.default for option in options_of(own)}["min_block_size"] == 1


def test_options_reach_the_compiler_in_its_own_words() -> None:
    chosen = description("2.14.0").normalise(
        {
            "min_block_size": "1",
            "workspace_size": "1GiB",
            "truncate_double": "true",
            "tiling_optimization_level": "fast",
        }
    )
    assert settings_of(parameters("2.14.0"), chosen) == {
        "min_block_size": 1,
        "workspace_size": 1 << 30,
        "truncate_double": True,
        "tiling_optimization_level": "fast",
    }


def test_an_option_of_another_release_is_refused_by_name() -> None:
    with pytest.raises(InvalidSpecError, match="no option 'debug'"):
        settings_of(parameters(), {"debug": True})


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("fp32", {"disable_tf32": True}),
        ("tf32", {"disable_tf32": False}),
        ("fp16", {"disable_tf32": False, "enable_autocast": True, "autocast_low_precision_type": "float16"}),
        ("bf16", {"disable_tf32": False, "enable_autocast": True, "autocast_low_precision_type": "bfloat16"}),
    ],
)
def test_a_precision_is_autocast_of_a_typed_network(precision: str, expected: dict[str, object]) -> None:
    def name(word: str) -> str:
        return word

    assert precision_arguments(parameters("2.14.0"), precision, name) == expected
    # Where types could also be left to the builder, they are not.
    assert precision_arguments(parameters("2.11.0"), precision, name) == {
        **expected,
        "use_explicit_typing": True,
    }


def test_every_other_precision_is_refused_with_the_nearest() -> None:
    answers = precisions_of(ID)
    assert list(answers) == list(PRECISIONS)
    assert [name for name, reason in answers.items() if not reason] == ["fp32", "tf32", "fp16", "bf16"]
    assert all("nearest: fp16" in reason for reason in answers.values() if reason)
    with pytest.raises(InvalidSpecError, match="int8 is not supported"):
        precision_arguments(parameters(), "int8", str)
