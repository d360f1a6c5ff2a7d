"""Types and formats of inputs and outputs: in the words of trtexec, canonical in the key, refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.errors import InvalidSpecError
from farm.domain.io_formats import (
    FORMATS,
    TYPES,
    IoFormat,
    canonical_io_formats,
    parse_io_formats,
    why_not_io_formats,
)
from tests.factories import a_cpu_toolchain, a_model, a_tensor, a_toolchain

MODEL = a_model(
    inputs=(a_tensor("image", (-1, 3, 8, 8)), a_tensor("in:0", (1, 4), "int64")),
    outputs=(a_tensor("scores", (-1, 10)), a_tensor("unknown", ())),
)
TEN = a_toolchain(version="10.3.0", io_formats=tuple(FORMATS), io_types=tuple(TYPES))
ELEVEN = a_toolchain(version="11.4.0", io_formats=tuple(FORMATS))


# Words.


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("image:fp16:chw16", {"image": "fp16:chw16"}),
        ("image:fp16", {"image": "fp16"}),
        ("image:CHW32", {"image": "chw32"}),
        ("image:fp16:chw16, scores:int8:chw32", {"image": "fp16:chw16", "scores": "int8:chw32"}),
        ("in:0:int32:chw", {"in:0": "int32:chw"}),
        ("in:0:int32", {"in:0": "int32"}),
        ("image:fp16:chw16+chw", {"image": "fp16:chw+chw16"}),
        ("", {}),
    ],
)
def test_formats_are_written_as_trtexec_writes_them(text: str, wanted: dict[str, str]) -> None:
    assert parse_io_formats(text) == wanted


@given(st.sampled_from(["", *TYPES]), st.lists(st.sampled_from(sorted(FORMATS)), min_size=1, unique=True))
def test_what_is_parsed_is_written_as_it_is_read(type_: str, formats: list[str]) -> None:
    parsed = IoFormat.parse(":".join(filter(None, [type_, "+".join(formats)])))
    assert IoFormat.parse(str(parsed)) == parsed
    assert set(parsed.formats) == set(formats)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("image", "not a tensor's format"),
        (":fp16", "not a tensor's format"),
        ("image:fp16:chw17", "'chw17' is no memory format"),
        ("image:fp16,image:chw", "'image' is given two formats"),
    ],
)
def test_words_that_mean_nothing_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(InvalidSpecError, match=complaint):
        parse_io_formats(text)


# Canonical.


@pytest.mark.parametrize("text", ["image:fp32", "image:chw", "image:fp32:chw", "in:0:int64,scores:chw"])
def test_what_is_the_models_own_is_dropped(text: str) -> None:
    assert canonical_io_formats(MODEL, parse_io_formats(text)) == {}


def test_what_differs_has_both_words() -> None:
    found = canonical_io_formats(MODEL, parse_io_formats("image:chw32,scores:fp16,unknown:hwc"))
    assert found == {"image": "fp32:chw32", "scores": "fp16:chw", "unknown": "fp32:hwc"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("imag:fp16", "no input or output 'imag'"),
        ("image:fp17:chw", "'fp17' is no element type"),
        ("image:fp32:hwc8", "format hwc8 of 'image' is for fp16, bf16, not for fp32"),
        ("scores:fp16:chw16", "chw16 needs 3 dimensions, and scores float32 Nx10 has 2"),
        ("image:fp32:dhwc", None),
    ],
)
def test_formats_that_do_not_fit_the_model_are_refused(text: str, complaint: str | None) -> None:
    if complaint is None:
        # A volume of four dimensions is one without a batch: TensorRT has the last word.
        assert canonical_io_formats(MODEL, parse_io_formats(text)) == {"image": "fp32:dhwc"}
        return
    with pytest.raises(InvalidSpecError, match=complaint):
        canonical_io_formats(MODEL, parse_io_formats(text))


# What a toolchain can not do.


@pytest.mark.parametrize(
    ("toolchain", "text", "reason"),
    [
        (TEN, "image:fp16:chw16", ""),
        (ELEVEN, "image:chw32", ""),
        (
            ELEVEN,
            "image:fp16:chw16",
            "takes an input's or output's type from the model: 'image' is fp32, not fp16",
        ),
        (a_cpu_toolchain(), "image:chw32", "has no I/O formats"),
        (a_toolchain(io_formats=("chw",), io_types=("fp16",)), "image:fp16:hwc8", "has no format hwc8"),
        (a_toolchain(io_formats=("chw",), io_types=("fp16",)), "image:bf16", "has no bf16 inputs or outputs"),
        (TEN, "image:fp16:dla_linear", "read by a DLA alone"),
        (TEN, "image:int8:chw32", "needs the scales of an INT8 build"),
        (TEN, "image:uint8:hwc", "'image' is fp32, and uint8 holds other values: put a Cast into the model"),
        (TEN, "image:int32", "holds other values"),
        (TEN, "in:0:bool", "holds other values"),
        (TEN, "in:0:fp32", "'in:0' is int64, and fp32 holds other values"),
        (TEN, "in:0:int32", ""),
    ],
)
def test_a_toolchain_that_can_not_says_why(toolchain: Any, text: str, reason: str) -> None:
    wanted = canonical_io_formats(MODEL, parse_io_formats(text))
    found = why_not_io_formats(toolchain, MODEL, "fp16", wanted, is_calibrated=False)
    assert reason in found
    assert bool(found) == bool(reason)


def test_int8_of_floats_is_for_calibrated_builds() -> None:
    wanted = canonical_io_formats(MODEL, parse_io_formats("image:int8:chw32"))
    assert why_not_io_formats(TEN, MODEL, "int8+fp16", wanted, is_calibrated=True) == ""
    found = why_not_io_formats(TEN, MODEL, "int8", wanted, is_calibrated=False)
    assert "needs the scales of a calibration, and the model has Q/DQ nodes" in found
