"""Operations of a node, by the definition of its operator; a multiplication with an addition is two."""

from __future__ import annotations

from typing import Any

import pytest

from farm.domain.flops import flops_of


@pytest.mark.parametrize(
    ("operator", "inputs", "out", "attributes", "wanted"),
    [
        ("MatMul", [(4, 8), (8, 16)], (4, 16), {}, 2 * 4 * 8 * 16),
        ("MatMul", [(2, 5, 4, 8), (8, 16)], (2, 5, 4, 16), {}, 2 * 10 * 4 * 8 * 16),
        ("Gemm", [(4, 8), (8, 16)], (4, 16), {}, 2 * 4 * 8 * 16),
        ("Gemm", [(8, 4), (16, 8), (16,)], (4, 16), {}, 2 * 4 * 8 * 16 + 4 * 16),
        ("Conv", [(1, 3, 8, 8), (16, 3, 3, 3)], (1, 16, 6, 6), {}, 2 * 16 * 36 * 27),
        ("Conv", [(1, 16, 8, 8), (16, 1, 3, 3), (16,)], (1, 16, 6, 6), {}, 2 * 16 * 36 * 9 + 16 * 36),
        ("Conv", [(1, 2, 4, 4, 4), (8, 2, 3, 3, 3)], (1, 8, 2, 2, 2), {}, 2 * 64 * 54),
        ("ConvTranspose", [(1, 4, 5, 5), (4, 2, 2, 2)], (1, 2, 10, 10), {}, 2 * 100 * 8),
        ("Relu", [(2, 3)], (2, 3), {}, 6),
        ("Softmax", [(2, 10)], (2, 10), {}, 100),
        ("LayerNormalization", [(2, 10), (10,), (10,)], (2, 10), {}, 140),
        ("GlobalAveragePool", [(1, 8, 7, 7)], (1, 8, 1, 1), {}, 8 * 49),
        ("MaxPool", [(1, 8, 8, 8)], (1, 8, 4, 4), {"kernel_shape": [2, 2]}, 128 * 4),
        ("Reshape", [(2, 3), (1,)], (6,), {}, 0),
        ("Resize", [(1, 1, 2, 2)], (1, 1, 4, 4), {"mode": b"linear"}, 7 * 16),
        ("Resize", [(1, 1, 2, 2)], (1, 1, 4, 4), {"mode": b"nearest"}, 0),
    ],
)
def test_operators_are_counted(
    operator: str, inputs: list[Any], out: tuple[int, ...], attributes: dict[str, Any], wanted: int
) -> None:
    assert flops_of(operator, inputs, [out], attributes) == wanted


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs"),
    [
        ("NonMaxSuppression", [(1, 5, 4), (1, 1, 5)], [(3, 3)]),
        ("Loop", [(), ()], [(2,)]),
        ("MatMul", [(4, 8), None], [(4, 16)]),
        ("Relu", [None], [None]),
    ],
)
def test_what_nobody_knows_is_not_counted(operator: str, inputs: list[Any], outputs: list[Any]) -> None:
    assert flops_of(operator, inputs, outputs, {}) is None
