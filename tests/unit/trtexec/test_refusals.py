"""What of a trtexec line is refused: all of it at once, each with its reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.trtexec import FLAGS, translate_line
from cli.trtexec_flag import Answer
from farm.domain.errors import InvalidSpecError

REFUSED = sorted(name for name, flag in FLAGS.items() if flag.answer is Answer.REFUSED)


@given(st.sets(st.sampled_from(REFUSED), min_size=1))
def test_all_refusals_of_a_line_are_listed_at_once(names: set[str]) -> None:
    line = " ".join(["--fp16", *sorted(names)])
    with pytest.raises(InvalidSpecError) as caught:
        translate_line(line)
    assert caught.value.message.startswith(f"{len(names)} flag(s)")
    for name in names:
        assert f"{name}: {FLAGS[name].says}" in caught.value.message


def outcome(line: str) -> str:
    """Why a line is refused; empty if it is not."""
    try:
        translate_line(line)
    except InvalidSpecError as error:
        return error.message
    return ""


@given(st.text(max_size=40))
def test_any_text_is_a_request_or_a_refusal(text: str) -> None:
    said = outcome(text)
    assert not said or "--trtexec can not be read" in said or "flag(s) of the trtexec line" in said


@given(st.lists(st.tuples(st.sampled_from(sorted(FLAGS)), st.text("01x:,-+.MGaf", max_size=12)), max_size=8))
def test_any_value_of_a_flag_is_a_request_or_a_refusal(flags: list[tuple[str, str]]) -> None:
    said = outcome(" ".join(f"{name}={value}" if FLAGS[name].takes_value else name for name, value in flags))
    assert not said or "flag(s) of the trtexec line can not be taken" in said


@given(
    st.lists(st.sampled_from(["x:1x3", "x:8x3", "y:2", "y:", "x:1"]), min_size=1, max_size=4), st.booleans()
)
def test_any_shapes_are_a_request_or_a_refusal(parts: list[str], is_run: bool) -> None:
    said = outcome(f"--optShapes=x:1x3,y:2 --{'shapes' if is_run else 'maxShapes'}={','.join(parts)}")
    assert not said or "flag(s) of the trtexec line can not be taken" in said


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("--nope", "no flag of trtexec"),
        ("--fp61", "Did you mean --fp16"),
        ("onnx", "'onnx': no flag"),
        ("--onnx m.onnx", "--onnx: a value is missing"),
        ("--fp16=1", "--fp16: it takes no value"),
        ("--avgTiming=1 --avgTiming=2", "it is given twice"),
        ("--avgTiming=", "--avgTiming=: a value is missing"),
        ("--fp16 'a", "No closing quotation"),
        ("--infStreams=none", "'none' is no number from 1 on"),
        ("--device=1", "--device=1: any idle device"),
        ("--iterations=0", "'0' is no number from 1 on"),
        ("--percentile=50", "90th, 95th and 99th"),
        ("--sparsity=force", "prune the model first"),
        ("--sparsity=some", "'some' is none of disable, enable"),
        ("--duration=-1", "not without an end"),
        ("--duration=soon", "'soon' is no number"),
        ("--warmUp=0.5", "a whole number of milliseconds"),
        ("--memPoolSize=workspce:1", "'workspce' is none of workspace"),
        ("--memPoolSize=workspace:lots", "'lots' is no size"),
        ("--preview=+nothing", "'nothing' is none of"),
        ("--preview=profileSharing0806", "begins with [+] or -"),
        ("--tacticSources=CUDNN", "begins with [+] or -"),
        ("--hardwareCompatibilityLevel=turing", "'turing' is none of none, ampere"),
        ("--optShapes=x*:1x3", "wildcards are not taken"),
        ("--optShapes=x:scalar", "leave it out"),
        ("--optShapes=1x3", "not an input's shape"),
        ("--optShapes=", "a value is missing"),
        ("--optShapes=x:1,x:1", "input 'x' is given two shapes"),
        ("--profile=one", "no number of a profile"),
        ("--profile=1 --optShapes=x:1x3", "numbered from 0 on without a gap"),
        ("--minShapes=x:1 --profile=1 --optShapes=x:1", "--minShapes: given for some profiles"),
        ("--optShapes=x:1x3 --shapes=x:1x4", "make these the --optShapes"),
        ("--shapes=x:1x3,y:2x3", "--shapes=x:1x3,y:2x3: the farm measures"),
        ("--fp16 --noTF32", "the farm leaves TF32 on"),
        ("--fp16 --stronglyTyped", "trtexec ignores --fp16 beside it"),
        ("--fp16 --bf16", "no such set of precisions"),
        ("--fp8 --int8", "no such set of precisions"),
    ],
)
def test_a_refusal_says_what_is_wrong(line: str, reason: str) -> None:
    with pytest.raises(InvalidSpecError, match=reason):
        translate_line(line)


def test_formats_for_neither_one_nor_all_are_refused() -> None:
    translation = translate_line("--inputIOFormats=fp16:chw,fp16:chw")
    with pytest.raises(InvalidSpecError, match=r"2 formats for 3 tensors \(a, b, c\)"):
        translation.io_formats(["a", "b", "c"], ["y"])
