"""The nearest known word to a mistyped one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm.domain.suggestions import did_you_mean

GPUS = ["nvidia-h200", "nvidia-l4", "nvidia-a10", "nvidia-geforce-rtx-4090", "cpu-amd-epyc-9334-16c-avx512"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("nvidia-h20", "nvidia-h200"),
        ("NVIDIA-H200", "nvidia-h200"),
        ("nvida-l4", "nvidia-l4"),
        ("rtx", "nvidia-geforce-rtx-4090"),
        ("4090", "nvidia-geforce-rtx-4090"),
        ("epyc", "cpu-amd-epyc-9334-16c-avx512"),
    ],
)
def test_a_near_word_is_suggested(word: str, meant: str) -> None:
    assert did_you_mean(word, GPUS).startswith("Did you mean ")
    assert meant in did_you_mean(word, GPUS)


def test_without_a_near_word_all_are_listed() -> None:
    assert did_you_mean("zzz", ["fp16", "fp32"]) == "Known: fp16, fp32."


def test_where_nothing_is_known_it_says_so() -> None:
    assert did_you_mean("h200", []) == "None is known yet."


def test_the_nearest_comes_first() -> None:
    assert did_you_mean("fp16", ["bf16", "fp16", "fp32"]).startswith("Did you mean fp16")


def test_words_keep_their_case() -> None:
    assert did_you_mean("ampere", ["AMPERE_PLUS", "NONE"]) == "Did you mean AMPERE_PLUS?"


@given(st.lists(st.sampled_from(GPUS), min_size=1), st.randoms())
def test_the_order_of_what_is_known_does_not_count(known: list[str], random) -> None:
    shuffled = list(known)
    random.shuffle(shuffled)
    assert did_you_mean("nvidia", shuffled) == did_you_mean("nvidia", known)


def test_a_suggestion_names_three_at_most() -> None:
    assert did_you_mean("nvidia", GPUS).count(" or ") == 2
