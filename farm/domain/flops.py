"""Floating-point operations of a node, reckoned from shapes: an estimate, not what a kernel does.

A multiplication with an addition counts as two, as vendors count the speed of their devices.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Mapping, Optional, Sequence, Tuple

if TYPE_CHECKING:
    from farm.domain.shapes import Shape


def _words(text: str) -> Tuple[str, ...]:
    return tuple(text.split())


#: Moves, names or measures data and computes nothing.
_FREE = frozenset(
    _words("""Cast CastLike Concat Constant ConstantOfShape DepthToSpace Dropout EyeLike Expand Flatten Gather GatherElements
    GatherND Identity NonZero OneHot Pad Range Reshape ScatterElements ScatterND Shape Size Slice SpaceToDepth Split
    Squeeze Tile Transpose Trilu Unsqueeze""")
)
#: Operations for each element of the output, as the definition of the operator has them.
_PER_OUTPUT = {
    **dict.fromkeys(
        _words("""Abs Add And BitShift Ceil Clip Cos Div Equal Erf Exp Floor Greater GreaterOrEqual HardSigmoid Less
        LessOrEqual LeakyRelu Log Max Min Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Sigmoid Sign Sin Sqrt Sub
        Sum Tan Tanh ThresholdedRelu Where Xor"""),
        1,
    ),
    **dict.fromkeys(("Celu", "Elu", "HardSwish", "Mish", "Selu", "Softplus", "Softsign", "Swish"), 3),
    "Gelu": 5,
    # Shift and scale, as inference folds them.
    "BatchNormalization": 2,
    "QuantizeLinear": 2,
    "DequantizeLinear": 2,
}
#: The same for each element of the first input: means, variances, sums.
_PER_INPUT = {
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization", "LayerNormalization"), 7),
    **dict.fromkeys(("RMSNormalization", "LpNormalization", "MeanVarianceNormalization"), 4),
    **dict.fromkeys(("Softmax", "LogSoftmax"), 5),
    **dict.fromkeys(
        _words("""ArgMax ArgMin CumSum GlobalAveragePool GlobalMaxPool ReduceL1 ReduceLogSum ReduceMax ReduceMean ReduceMin
        ReduceProd ReduceSum"""),
        1,
    ),
    **dict.fromkeys(("ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "GlobalLpPool"), 2),
}
_LINEAR_RESIZE = 7


def flops_of(
    operator: str,
    inputs: Sequence[Optional[Shape]],
    outputs: Sequence[Optional[Shape]],
    attributes: Mapping[str, Any],
) -> Optional[int]:
    """Operations of one node; none if nobody knows: an unknown operator, or a shape that is open.

    Args:
        operator: of the default operator set.
        inputs: their shapes, in order; none for one that is left out or not known.
        outputs: the same.
        attributes: of the node.
    """
    if operator in _FREE:
        return 0
    out = outputs[0] if outputs else None
    first = inputs[0] if inputs else None
    if operator in _PER_OUTPUT:
        return _times(_PER_OUTPUT[operator], out)
    if operator in _PER_INPUT:
        return _times(_PER_INPUT[operator], first)
    if operator in ("AveragePool", "MaxPool", "LpPool"):
        return _times(math.prod(attributes.get("kernel_shape", ())), out)
    if operator in ("Resize", "Upsample"):
        return (
            0
            if attributes.get("mode", b"nearest") in (b"nearest", "nearest")
            else _times(_LINEAR_RESIZE, out)
        )
    product = _PRODUCTS.get(operator)
    known = [shape for shape in inputs[:2] if shape is not None]
    if product is None or out is None or len(known) < 2:
        return None
    return product(known[0], known[1], out, len([shape for shape in inputs if shape is not None]))


def _times(each: int, shape: Optional[Shape]) -> Optional[int]:
    return None if shape is None else each * math.prod(shape)


def _matmul(left: Shape, right: Shape, out: Shape, _count: int) -> int:
    return 2 * math.prod(out) * (left[-1] if left else 1)


def _gemm(left: Shape, right: Shape, out: Shape, count: int) -> int:
    # Whatever is transposed, the elements of the left one are rows times what is summed over.
    summed = math.prod(left) // max(out[0], 1)
    return 2 * math.prod(out) * summed + (math.prod(out) if count > 2 else 0)


def _convolution(data: Shape, weights: Shape, out: Shape, count: int) -> int:
    # Weights are M x C/group x kernel: a group's share of the channels is in them.
    return 2 * math.prod(out) * math.prod(weights[1:]) + (math.prod(out) if count > 2 else 0)


def _transposed(data: Shape, weights: Shape, out: Shape, count: int) -> int:
    # Weights are C x M/group x kernel: every input element meets all of its channel's.
    return 2 * math.prod(data) * math.prod(weights[1:]) + (math.prod(out) if count > 2 else 0)


_PRODUCTS = {
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "Gemm": _gemm,
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "ConvTranspose": _transposed,
}
