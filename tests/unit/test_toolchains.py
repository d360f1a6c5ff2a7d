"""What a toolchain says it can do, and the canonical form of the options that users write."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.errors import InvalidSpecError
from farm.domain.precisions import PRECISIONS
from farm.domain.targets import DeviceKind, DeviceType, Target, ToolchainId, parse_toolchain
from farm.domain.toolchains import BuilderOption, ToolchainDescription
from tests.factories import a_cpu_toolchain, a_device_type, a_toolchain, a_toolchain_id, an_l4

LEVEL = BuilderOption("level", "int", default=3, minimum=1, maximum=5)
POOL = BuilderOption("pool", "bytes", minimum=1)
FLAG = BuilderOption("flag", "bool", default=False)
MODE = BuilderOption("mode", "choice", default="NONE", choices=("NONE", "AMPERE_PLUS"))
SOURCES = BuilderOption("sources", "signed-set", default=[], choices=("CUBLAS", "CUDNN"))

ACCEPTED = [
    (LEVEL, 1, 1),
    (LEVEL, "5", 5),
    (LEVEL, " 3 ", 3),
    (POOL, 1, 1),
    (POOL, "17", 17),
    (POOL, "4GiB", 4 << 30),
    (POOL, "4 gib", 4 << 30),
    (POOL, "1KiB", 1 << 10),
    (POOL, "2mib", 2 << 20),
    (POOL, "1kb", 1000),
    (POOL, "3MB", 3_000_000),
    (POOL, "1GB", 10**9),
    *[(FLAG, text, True) for text in (True, "true", "True", "1", 1, "on", "YES")],
    *[(FLAG, text, False) for text in (False, "false", "0", 0, "off", "no")],
    (MODE, "none", "NONE"),
    (MODE, "Ampere_Plus", "AMPERE_PLUS"),
    (SOURCES, "", []),
    (SOURCES, [], []),
    (SOURCES, "cudnn", ["+CUDNN"]),
    (SOURCES, "-cublas,+cudnn", ["+CUDNN", "-CUBLAS"]),
    (SOURCES, ["+CUDNN", " -CUBLAS "], ["+CUDNN", "-CUBLAS"]),
    (SOURCES, ("CUDNN", "+CUDNN"), ["+CUDNN"]),
]
REFUSED = [
    (LEVEL, 0, "1 to 5"),
    (LEVEL, 6, "1 to 5"),
    (LEVEL, "3.0", "whole number"),
    (LEVEL, 3.0, "whole number"),
    (LEVEL, "high", "whole number"),
    (LEVEL, True, "whole number"),
    (LEVEL, "", "whole number"),
    (LEVEL, "3GiB", "whole number"),
    (POOL, 0, "at least 1"),
    (POOL, "-1GiB", "at least 1"),
    (POOL, "4 bananas", "GiB"),
    (POOL, "1.5GiB", "GiB"),
    (FLAG, "maybe", "true or false"),
    (FLAG, "", "true or false"),
    (MODE, "ampere", "AMPERE_PLUS"),
    (SOURCES, "cubla", "CUBLAS"),
    (SOURCES, "+CUDNN,-CUDNN", "both added and removed"),
    (SOURCES, "CUDNN,-", "CUBLAS"),
]


@pytest.mark.parametrize(("option", "written", "canonical"), ACCEPTED)
def test_what_users_write_becomes_one_canonical_value(
    option: BuilderOption, written: Any, canonical: Any
) -> None:
    parsed = option.parse(written)
    assert parsed == canonical
    assert type(parsed) is type(canonical)


@pytest.mark.parametrize(("option", "written", "canonical"), ACCEPTED)
def test_canonical_values_stay_as_they_are(option: BuilderOption, written: Any, canonical: Any) -> None:
    assert option.parse(canonical) == canonical == option.parse(option.parse(written))


@pytest.mark.parametrize(("option", "written", "said"), REFUSED)
def test_what_does_not_fit_is_refused_with_the_way_out(
    option: BuilderOption, written: Any, said: str
) -> None:
    with pytest.raises(InvalidSpecError, match=option.name) as caught:
        option.parse(written)
    assert said in caught.value.message


@given(st.integers(-10, 20))
def test_a_number_is_taken_within_its_bounds(number: int) -> None:
    if 1 <= number <= 5:
        assert LEVEL.parse(number) == LEVEL.parse(str(number)) == number
    else:
        with pytest.raises(InvalidSpecError):
            LEVEL.parse(number)


@given(st.lists(st.sampled_from(["+CUBLAS", "-CUBLAS", "+CUDNN", "-CUDNN", "cudnn"]), max_size=6))
def test_the_order_in_a_set_does_not_count(words: list[str]) -> None:
    try:
        forward = SOURCES.parse(words)
    except InvalidSpecError:
        with pytest.raises(InvalidSpecError):
            SOURCES.parse(words[::-1])
    else:
        assert forward == SOURCES.parse(words[::-1]) == SOURCES.parse(",".join(words))


# Options of a toolchain.


def test_options_are_checked_and_made_canonical() -> None:
    chosen = a_toolchain().normalise({"builder_optimization_level": "5", "sparse_weights": "on"})
    assert chosen == {"builder_optimization_level": 5, "sparse_weights": True}


def test_what_is_the_default_anyway_is_left_out() -> None:
    assert a_toolchain().normalise({"builder_optimization_level": "3", "sparse_weights": "off"}) == {}


def test_normalising_twice_changes_nothing() -> None:
    once = a_toolchain().normalise(
        {"memory_pool_limits.WORKSPACE": "1GiB", "tactic_sources": "-CUDNN,+CUBLAS"}
    )
    assert a_toolchain().normalise(once) == once


def test_an_unknown_option_suggests_the_nearest() -> None:
    with pytest.raises(InvalidSpecError, match=r"tensorrt 8\.6\.0") as caught:
        a_toolchain().normalise({"optimization_level": 3})
    assert "builder_optimization_level" in caught.value.hint


# Precisions.


def test_a_precision_that_it_does_needs_no_reason() -> None:
    assert a_toolchain().why_not("fp16") == ""


def test_a_precision_that_it_does_not_do_has_its_reason() -> None:
    assert a_toolchain().why_not("fp8") == "this version has no fp8"
    assert "not supported yet by onnxruntime 1.23.2" in a_cpu_toolchain().why_not("int8")


def test_an_unknown_precision_suggests_the_nearest() -> None:
    assert "fp16" in a_toolchain().why_not("f16")


def test_supported_precisions_come_in_the_farms_order() -> None:
    shuffled = dict.fromkeys(reversed(PRECISIONS), "")
    assert a_toolchain(precisions=shuffled).supported_precisions == PRECISIONS
    assert a_cpu_toolchain().supported_precisions == ("fp32",)


# Devices.


@pytest.mark.parametrize(
    ("capability", "serves"),
    [
        ("6.1", False),
        ("7.0", True),
        ("7.5", True),
        ("8.9", True),
        ("9.0", True),
        ("10.0", False),
        ("12.0", False),
    ],
)
def test_a_gpu_is_served_between_the_lowest_and_the_highest_capability(capability: str, serves: bool) -> None:
    assert a_toolchain().can_serve(a_device_type(compute_capability=capability)) is serves


def test_a_toolchain_without_bounds_serves_every_gpu() -> None:
    assert a_toolchain(compute_capabilities=()).can_serve(a_device_type(compute_capability="12.0"))


def test_an_ahead_of_time_toolchain_serves_exactly_its_capabilities() -> None:
    toolchain = a_toolchain(serves=DeviceKind.COMPUTE_CAPABILITY, compute_capabilities=("8.6", "12.0"))
    served = [c for c in ("8.6", "8.9", "10.0", "12.0") if toolchain.can_serve(DeviceType.any_of(c))]
    assert served == ["8.6", "12.0"]


@pytest.mark.parametrize("kind", DeviceKind)
@pytest.mark.parametrize("serves", DeviceKind)
def test_a_toolchain_serves_one_kind_of_device(kind: DeviceKind, serves: DeviceKind) -> None:
    toolchain = a_toolchain(serves=serves, compute_capabilities=("8.9", "9.0"))
    assert toolchain.can_serve(a_device_type(kind)) is (kind is serves)


def test_a_description_survives_json() -> None:
    for description in (
        a_toolchain(),
        a_cpu_toolchain(),
        a_toolchain(precision_notes={"fp16": "where faster"}),
    ):
        stored = json.loads(json.dumps(description.as_json()))
        assert ToolchainDescription.from_json(stored) == description


# Names of toolchains and targets.


@pytest.mark.parametrize(
    ("wanted", "means"),
    [
        ("tensorrt", True),
        ("tensorrt@8", True),
        ("tensorrt@8.6", True),
        ("tensorrt@8.6.0", True),
        ("tensorrt@8.6.1", False),
        ("tensorrt@8.60", False),
        ("tensorrt@", True),
        ("tensorrt-rtx", False),
        ("tensor", False),
    ],
)
def test_a_word_means_a_toolchain_by_name_and_whole_parts_of_its_version(wanted: str, means: bool) -> None:
    assert a_toolchain_id().matches(wanted) is means


def test_versions_are_ordered_by_their_numbers() -> None:
    ids = [ToolchainId("tensorrt", version) for version in ("10.1.0", "8.6.0", "9.3.0", "10.0.1")]
    assert [id_.version for id_ in sorted(ids, key=lambda id_: id_.version_order)] == [
        "8.6.0",
        "9.3.0",
        "10.0.1",
        "10.1.0",
    ]


@pytest.mark.parametrize(
    "text", ["tensorrt", "tensorrt-rtx", "tensorrt@8", "tensorrt@8.6.0", "onnxruntime@1.23.2"]
)
def test_a_toolchain_is_a_name_with_or_without_a_version(text: str) -> None:
    assert parse_toolchain(text) == text


@pytest.mark.parametrize(
    "text", ["", "@8", "TensorRT", "tensorrt 8", "tensorrt@", "tensorrt@8.", "tensorrt@v8", "8"]
)
def test_what_is_not_a_toolchain_is_refused(text: str) -> None:
    with pytest.raises(InvalidSpecError) as caught:
        parse_toolchain(text)
    assert "tensorrt@8.6" in caught.value.hint


@pytest.mark.parametrize(
    ("device_type", "slug"),
    [
        (a_device_type(), "nvidia-h200"),
        (a_device_type(variant="1g.18gb"), "nvidia-h200-mig-1g.18gb"),
        (an_l4(), "nvidia-l4"),
        (a_device_type(product_name="NVIDIA GeForce RTX 4090"), "nvidia-geforce-rtx-4090"),
        (a_device_type(DeviceKind.CPU), "cpu-amd-epyc-9334-16c-avx512"),
        (
            a_device_type(DeviceKind.CPU, product_name="Intel(R) Xeon(R) CPU @ 2.20GHz", units=2, variant=""),
            "cpu-intel-xeon-2.20ghz-2c",
        ),
        (a_device_type(DeviceKind.COMPUTE_CAPABILITY), "any-sm89"),
    ],
)
def test_a_device_type_has_a_name_to_type(device_type: DeviceType, slug: str) -> None:
    assert device_type.slug == slug
    assert DeviceType.from_json(json.loads(json.dumps(device_type.as_json()))) == device_type


def test_products_under_one_name_have_distinct_long_names_and_queues() -> None:
    small, large = a_device_type(memory_gib=80), a_device_type(memory_gib=140)
    assert small.slug == large.slug
    assert small.distinct_slug != large.distinct_slug
    assert Target(small, a_toolchain_id()).queue != Target(large, a_toolchain_id()).queue


def test_every_target_has_a_queue_of_its_own() -> None:
    targets = [
        Target(device_type, toolchain)
        for device_type in (a_device_type(), an_l4(), a_device_type(variant="1g.18gb"))
        for toolchain in (a_toolchain_id(), a_toolchain_id(version="8.6.1"), a_toolchain_id(variant="cu13"))
    ]
    assert len({target.queue for target in targets}) == len(targets)
    assert targets[0].queue == "farm.nvidia-h200-132sm-140gib.tensorrt-8.6.0-cu12"


def test_a_target_is_named_as_people_say_it() -> None:
    assert str(Target(a_device_type(), a_toolchain_id())) == "nvidia-h200 · tensorrt 8.6.0"
    assert replace(a_toolchain_id(), variant="").slug == "tensorrt-8.6.0"
