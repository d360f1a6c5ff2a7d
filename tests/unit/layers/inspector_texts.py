"""What EngineInspector says, as TensorRT 8.6, 10 and 11 write it: shortened, with every field in its place."""

from __future__ import annotations

import json
from typing import Any


def tensor_8(name: str, words: str, *shape: int) -> dict[str, Any]:
    """A tensor as releases up to 10 tell of it."""
    return {"Name": name, "Location": "Device", "Dimensions": list(shape), "Format/Datatype": words}


def tensor_11(name: str, layout: str, datatype: str, *shape: int) -> dict[str, Any]:
    """The same from 11 on."""
    return {
        "Name": name,
        "Location": "Device",
        "Dimensions": list(shape),
        "Format": layout,
        "Datatype": datatype,
    }


REFORMAT_8 = {
    "Name": "Reformatting CopyNode for Input Tensor 0 to Conv_c0 + Relu_r0",
    "LayerType": "Reformat",
    "Inputs": [tensor_8("x", "Row major linear FP32", 8, 3, 32, 32)],
    "Outputs": [
        tensor_8("r", "Channel major FP16 format where channel % 8 == 0", 8, 3, 32, 32),
    ],
    "ParameterType": "Reformat",
    "Origin": "REFORMAT",
    "TacticValue": "0x00000000000003ea",
    "StreamId": 0,
    "Metadata": "",
}
CONVOLUTION_8 = {
    "Name": "Conv_c0 + Relu_r0",
    "LayerType": "CaskConvolution",
    "Inputs": [tensor_8("r", "Channel major FP16 format where channel % 8 == 0", 8, 3, 32, 32)],
    "Outputs": [tensor_8("r0", "Thirty-two wide channel vectorized row major Int8 format", 8, 16, 32, 32)],
    "ParameterType": "Convolution",
    "Kernel": [3, 3],
    "Groups": 1,
    "Weights": {"Type": "Half", "Count": 432},
    "Bias": {"Type": "Half", "Count": 16},
    "Activation": "RELU",
    "TacticName": "sm80_xmma_fprop_implicit_gemm_indexed_f16f16_f16f16_f16",
    "TacticValue": "0x3f3c4b1d5a6e7f80",
    "StreamId": 0,
    "Metadata": "[ONNX Layer: Conv_c0]\x1e[ONNX Layer: Relu_r0]",
}
POINTWISE_8 = {
    "Name": "PWN(Sigmoid_s, Mul_m)",
    "LayerType": "PointWiseV2",
    "Inputs": [tensor_8("r0", "Thirty-two wide channel vectorized row major Int8 format", 8, 16, 32, 32)],
    "Outputs": [tensor_8("y", "Row major linear FP32", 8, 16, 32, 32)],
    "ParameterType": "PointWise",
    "Operations": ["auto const im0 = pwgen::iSigmoid(arg0);"],
    "TacticValue": "0x0000000000000000",
}


def detailed_8() -> str:
    """The whole engine, built by 8.6 or 10 with `profiling_verbosity=DETAILED`."""
    layers = [REFORMAT_8, CONVOLUTION_8, POINTWISE_8]
    return json.dumps({"Layers": layers, "Bindings": ["x", "y", "x [profile 1]", "y [profile 1]"]})


def names_8() -> str:
    """With `LAYER_NAMES_ONLY`, the default."""
    return json.dumps(
        {"Layers": [REFORMAT_8["Name"], "Conv_c0 + Relu_r0", "PWN(Sigmoid_s, Mul_m)"], "Bindings": ["x", "y"]}
    )


def detailed_11() -> str:
    """The same engine as TensorRT 11 tells of it."""
    io = [
        {
            "Name": "x",
            "IOMode": "Input",
            "DataType": "Float",
            "Dimensions": [-1, 3, 32, 32],
            "Location": "Device",
            "IsShapeInferenceIO": False,
            "ProfileInfo": [
                {
                    "MinShape": [1, 3, 32, 32],
                    "OptShape": [8, 3, 32, 32],
                    "MaxShape": [32, 3, 32, 32],
                    "Format": "Row major linear FP32 format (kLINEAR)",
                }
            ],
        },
        {
            "Name": "y",
            "IOMode": "Output",
            "DataType": "Half",
            "Dimensions": [-1, 16, 32, 32],
            "Location": "Device",
            "IsShapeInferenceIO": False,
            "ProfileInfo": [{"Format": "Channel major FP16 format (kHWC8)"}],
        },
    ]
    layer = {
        "Name": "__myl_ConvRelu_myl0_1",
        "LayerType": "kgen",
        "Inputs": [tensor_11("x", "Row major linear", "FP32", -1, 3, 32, 32)],
        "Outputs": [tensor_11("y", "Channel major format where channel % 8 == 0", "Half", -1, 16, 32, 32)],
        "TacticName": "__myl_ConvRelu_0x1234",
        "StreamId": 0,
        "Metadata": "[ONNX Layer: Conv_c0]\u001f[ONNX Layer: Relu_r0]",
        "SomethingNew": {"of": "a later release"},
    }
    return json.dumps({"Layers": [layer], "I/O Tensors": io})
