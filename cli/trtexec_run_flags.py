"""The flags of trtexec that say how to run, time and report, and what becomes of each."""

from __future__ import annotations

from cli import trtexec_values as values
from cli.trtexec_flag import Flag, needless, refused, taken

_ONE = "the farm starts the next inference without a pause, so that figures compare"
_APART = (
    "the farm measures with transfers and without, and times them apart, in every run; --method has one alone"
)
_GRAPH = "the farm measures with a CUDA graph and without, in every run; --method has one alone"
_EVENTS = "the farm times by CUDA events, whichever way the host waits"
_ACCURACY = "the farm compares every engine with ONNX Runtime on the CPU; limits are --threshold min_cosine=… and its like"
_TENSORS = "the farm marks no tensors inside the engine; compare outputs with --threshold"
_OUTPUTS = "the farm keeps an engine's accuracy, not its outputs: fetch the engine and run it for them"
_LAYERS = "`farm inspect ENGINE` shows the layers; DETAILED ones with --profilingVerbosity=detailed"
_LAYER_TIMES = "`farm profile ENGINE` measures time per layer"
_FILED = "every run's figures and raw samples are kept: `farm history`, `farm engines --json`"
_LOAD = "there is an engine already: `farm fetch` and `farm engines` are for filed ones"

RUN_FLAGS: dict[str, Flag] = dict(
    (
        taken(
            "--shapes",
            "`--batch`, and `--opt-shapes` where no shapes are given to build for",
            values.run_shapes,
        ),
        refused("--loadInputs", "pack the arrays into one file by input: --inputs samples.npz"),
        taken("--iterations", "`min_iterations` of a spec file", values.iterations),
        taken("--warmUp", "`--warmup-ms`", values.milliseconds("warmup_ms", 1)),
        taken("--duration", "`--duration-ms`, from seconds", values.milliseconds("duration_ms", 1000)),
        needless("--sleepTime", _ONE, only=("0",)),
        needless("--idleTime", _ONE, only=("0",), releases="8.5 to 11.1"),
        taken("--infStreams", "`--streams`", values.streams, releases="8.6 to 11.1"),
        taken("--streams", "`--streams`", values.streams, releases="8.5 to 10"),
        needless("--threads", "one thread of the farm keeps all streams busy"),
        needless("--exposeDMA", _APART),
        needless("--noDataTransfers", _APART),
        needless("--includeDataTransfers", _APART, releases="11"),
        refused("--useManagedMemory", "the farm measures with memory of the device", value=False),
        needless("--useSpinWait", _EVENTS),
        needless("--noSpinWait", _EVENTS, releases="11"),
        needless("--useCudaGraph", _GRAPH),
        needless("--noCudaGraph", _GRAPH, releases="11"),
        needless("--separateProfileRun", "the farm never times with a profiler attached"),
        needless(
            "--skipInference",
            "the farm verifies and times every engine that it can run; --duration-ms 1 keeps it short",
            releases="8.6 to 11.1",
        ),
        needless("--buildOnly", "as --skipInference", releases="8.5, 8.6"),
        needless("--timeDeserialize", "every run times deserialising, the context and the first inference"),
        refused("--timeRefit", "the farm does not time refitting", value=False),
        needless(
            "--persistentCacheRatio",
            "the farm sets none of the L2 cache aside; --flush-l2 empties it before each iteration",
            only=("0", "0.0"),
            releases="8.6 to 11.1",
        ),
        needless(
            "--useProfile",
            "a measurement runs in the profile that its shapes fit best",
            only=("0",),
            releases="10.0 to 11.1",
        ),
        needless(
            "--allocationStrategy",
            "the farm runs with memory for the largest shapes",
            only=("static",),
            releases="10.0 to 11.1",
        ),
        needless(
            "--weightStreamingBudget",
            "the farm measures with all weights on the GPU; the budget is for whoever runs the engine",
            only=("-2", "100%"),
            releases="10.0 to 11.1",
        ),
        refused("--loadRefOutputs", f"{_ACCURACY}; wanted outputs go into the --inputs file (outputs/NAME)"),
        refused("--accuracyAlgorithm", _ACCURACY, releases="11"),
        refused("--accuracyThreshold", _ACCURACY, releases="11"),
        refused("--atol", _ACCURACY, releases="11"),
        refused("--rtol", _ACCURACY, releases="11"),
        refused("--refPair", _ACCURACY, releases="11"),
        refused("--markDebug", _TENSORS, releases="10.0 to 11.1"),
        refused("--markUnfusedTensorsAsDebugTensors", _TENSORS, value=False, releases="10, 11"),
        refused("--saveDebugTensors", _TENSORS, releases="10.0 to 11.1"),
        refused("--saveAllDebugTensors", _TENSORS, releases="10, 11"),
        refused("--loadEngine", _LOAD),
        refused("--asyncFileReader", _LOAD, value=False, releases="10, 11"),
        refused("--getPlanVersionOnly", _LOAD, value=False, releases="8.6 to 11.1"),
        needless("--verbose", "the log of every build is kept: `farm logs JOB`"),
        needless(
            "--avgRuns", "the farm keeps the raw samples and their median, mean and percentiles", value=True
        ),
        needless(
            "--percentile",
            "the farm keeps the 90th, 95th and 99th",
            only=("90", "95", "99", "90,95", "90,99", "95,99", "90,95,99"),
        ),
        refused("--dumpRefit", "names of weights are those of the ONNX model's initializers", value=False),
        refused("--dumpOutput", _OUTPUTS, value=False),
        refused("--exportOutput", _OUTPUTS),
        refused("--dumpRawBindingsToFile", _OUTPUTS, value=False, releases="8.6 to 11.1"),
        needless("--dumpProfile", _LAYER_TIMES),
        needless("--exportProfile", _LAYER_TIMES, value=True),
        needless("--dumpLayerInfo", _LAYERS),
        needless("--exportLayerInfo", _LAYERS, value=True),
        needless(
            "--dumpOptimizationProfile", "`farm engines --json` shows the profiles", releases="10.0 to 11.1"
        ),
        needless("--exportTimes", _FILED, value=True),
        needless(
            "--device",
            "any idle device of the type builds it: --gpu says which type",
            only=("0",),
        ),
        refused("--help", "`farm submit --help`; docs/trtexec.md has all flags", value=False),
        refused("-h", "`farm submit --help`; docs/trtexec.md has all flags", value=False),
    )
)
