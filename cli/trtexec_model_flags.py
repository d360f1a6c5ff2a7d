"""The flags of trtexec for the model, its shapes, its formats and its plugins, and what becomes of each."""

from __future__ import annotations

from cli import trtexec_values as values
from cli.trtexec_flag import Flag, needless, refused, taken

_TO_8, _TO_10, _FROM_10 = "8.5, 8.6", "8.5 to 10", "10.0 to 11.1"
_ONNX = "the farm builds from ONNX: export the model to it, then --onnx=model.onnx"
_CALIBRATION = "the farm calibrates at the opt shapes, with samples: --calibration samples.npz"
_PLUGIN_PLANS = (
    "plugins are not put into the engine: give them to whoever loads it, or --staticPlugins for building"
)

MODEL_FLAGS: dict[str, Flag] = dict(
    (
        taken("--onnx", "the MODEL argument", values.key("model")),
        refused("--uff", _ONNX, releases=_TO_8),
        refused("--uffInput", _ONNX, releases=_TO_8),
        refused("--uffNHWC", _ONNX, value=False, releases=_TO_8),
        refused("--model", _ONNX, releases=_TO_8),
        refused("--deploy", _ONNX, releases=_TO_8),
        refused("--output", "an ONNX model says itself what its outputs are", releases=_TO_8),
        needless("--explicitBatch", "networks from ONNX have no other batch", releases="8.5"),
        refused(
            "--explicitPrecision",
            "TensorRT took it away; Q/DQ nodes in the model say what is INT8",
            value=False,
            releases="8.5",
        ),
        refused("--batch", "it is for networks with an implicit batch; give --shapes", releases=_TO_8),
        refused("--maxBatch", "it is for networks with an implicit batch; give --maxShapes", releases=_TO_8),
        taken("--minShapes", "`--min-shapes`", values.shapes("min")),
        taken("--optShapes", "`--opt-shapes`", values.shapes("opt")),
        taken("--maxShapes", "`--max-shapes`", values.shapes("max")),
        taken(
            "--profile",
            "an optimization profile for the shapes that follow (`--min-shapes` and its like, given again)",
            values.profile,
            releases=_FROM_10,
        ),
        refused("--minShapesCalib", _CALIBRATION, releases=_TO_10),
        refused("--optShapesCalib", _CALIBRATION, releases=_TO_10),
        refused("--maxShapesCalib", _CALIBRATION, releases=_TO_10),
        refused("--calibProfile", _CALIBRATION, releases="10"),
        refused(
            "--calib",
            "a calibration cache says nothing of the data behind it: give the samples (--calibration samples.npz); the "
            "farm makes the cache, keeps it and lends it",
            releases=_TO_10,
        ),
        taken(
            "--inputIOFormats",
            "`--io-formats`, in the order of the model's inputs; one stands for all",
            values.formats("input_formats"),
        ),
        taken(
            "--outputIOFormats",
            "`--io-formats`, in the order of the model's outputs; one stands for all",
            values.formats("output_formats"),
        ),
        taken("--staticPlugins", "`--plugin`", values.each("plugin"), releases="8.6 to 11.1"),
        taken("--plugins", "`--plugin`", values.each("plugin"), releases=_TO_10),
        taken("--dynamicPlugins", "`--plugin`", values.each("plugin"), releases="8.6 to 11.1"),
        refused("--setPluginsToSerialize", _PLUGIN_PLANS, releases="8.6 to 11.1"),
        refused("--ignoreParsedPluginLibs", _PLUGIN_PLANS, value=False, releases="8.6 to 11.1"),
    )
)
