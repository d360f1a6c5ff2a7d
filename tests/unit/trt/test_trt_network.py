"""Networks, profiles and refused nodes of TensorRT, per version, without TensorRT."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from farm.domain.errors import InvalidModelError, InvalidSpecError
from farm.domain.shapes import ShapeRange
from tests.unit.trt.surface import Config, log_for, surface
from workers.toolchains.trt_network import add_profiles, create_network, parse_model

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("version", "flags"), [("8.6.0", 1), ("10.16.1.11", 1), ("11.4.0.106", 0)])
def test_explicit_batch_is_asked_for_only_where_it_has_that_name(version: str, flags: int) -> None:
    trt = surface(version)
    asked = []
    builder = SimpleNamespace(create_network=lambda given: asked.append(given) or "network")
    create_network(trt, builder, log_for(trt))
    assert asked == [flags]


class Profile:
    def __init__(self, *, forgets: bool = False, bad: bool = False) -> None:
        self.shapes: dict[str, Any] = {}
        self.forgets, self.bad = forgets, bad

    def set_shape(self, name: str, low: Any, mid: Any, high: Any) -> None:
        self.shapes[name] = [low, mid, low if self.forgets else high]

    def get_shape(self, name: str) -> Any:
        return self.shapes[name]


def network_of(*inputs: Any) -> Any:
    return SimpleNamespace(num_inputs=len(inputs), get_input=lambda index: inputs[index])


def network_input(name: str, *shape: int, is_shape_tensor: bool = False) -> Any:
    return SimpleNamespace(name=name, shape=shape, is_shape_tensor=is_shape_tensor)


SPAN = ShapeRange((1, 4), (2, 4), (8, 4))


@pytest.mark.parametrize(
    ("network", "profiles", "complaint"),
    [
        (network_of(network_input("x", -1, 4)), [], "no optimization profile covers it"),
        (
            network_of(network_input("x", -1, 4), network_input("z", -1)),
            [{"x": SPAN}],
            "input 'z' is dynamic",
        ),
        (network_of(network_input("x", -1, 4)), [{"y": SPAN}], "no input 'y'"),
        (network_of(network_input("x", -1, 5)), [{"x": SPAN}], "does not fit input 'x' of shape -1x5"),
        (network_of(network_input("x", 2, is_shape_tensor=True)), [], "holds a shape"),
    ],
)
def test_profiles_must_cover_what_is_dynamic(network: Any, profiles: Any, complaint: str) -> None:
    builder = SimpleNamespace(create_optimization_profile=Profile)
    with pytest.raises(InvalidSpecError, match=complaint):
        add_profiles(builder, Config(), network, profiles, log_for(surface("8.6.0")))


@pytest.mark.parametrize("profile", [Profile(bad=True), Profile(forgets=True)])
def test_a_profile_that_tensorrt_quietly_refuses_is_told(profile: Profile) -> None:
    builder = SimpleNamespace(create_optimization_profile=lambda: profile)
    with pytest.raises(InvalidSpecError, match="refuses the"):
        add_profiles(
            builder, Config(), network_of(network_input("x", -1, 4)), [{"x": SPAN}], log_for(surface("8.6.0"))
        )


def test_static_models_need_no_profile() -> None:
    config = Config()
    add_profiles(
        SimpleNamespace(), config, network_of(network_input("x", 1, 4)), [], log_for(surface("8.6.0"))
    )
    assert not config.profiles


def test_a_refused_node_is_named_from_the_log_before_10(tmp_path: Path) -> None:
    trt = surface("8.6.0")
    log = log_for(trt)
    error = SimpleNamespace(
        code=lambda: "ErrorCode.UNSUPPORTED_NODE",
        desc=lambda: 'Assertion failed: creator && "Plugin not found"',
        node=lambda: 3,
    )

    def parse(path: str) -> bool:
        log.write("E", '[ModelImporter.cpp:726] While parsing node number 3 [NoSuchOp -> "r1"]:')
        log.write(
            "E", '[ModelImporter.cpp:728] input: "c1"\noutput: "r1"\nname: "mystery"\nop_type: "NoSuchOp"\n'
        )
        return False

    trt.OnnxParser = lambda network, logger: SimpleNamespace(
        parse_from_file=parse, num_errors=1, get_error=lambda index: error
    )
    with pytest.raises(InvalidModelError, match=r"operator NoSuchOp \(node 'mystery'\)") as caught:
        parse_model(trt, SimpleNamespace(), log, tmp_path / "m.onnx")
    assert "opset_version=17" in caught.value.hint
