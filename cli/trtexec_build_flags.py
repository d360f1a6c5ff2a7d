"""The flags of trtexec for the builder, and what becomes of each."""

from __future__ import annotations

from cli import trtexec_values as values
from cli.trtexec_flag import Flag, needless, refused, taken

_TO_8, _TO_10, _FROM_10 = "8.5, 8.6", "8.5 to 10", "10.0 to 11.1"
_LAYERS = (
    "the farm does not set single layers this way: `farm tune` finds the layers to keep in higher precision"
)
_SAFETY = "the farm builds no safety engines; use NVIDIA's own tools for them"
_DLL = "the farm runs engines with the full runtime of the release that built them"
_ROUTES = "the farm sets no build routes; `--builds 3` builds several times and keeps the fastest"
_HIDDEN = "it has no counterpart in TensorRT's Python module"

BUILD_FLAGS: dict[str, Flag] = dict(
    (
        taken(
            "--workspace",
            "`--set memory_pool_limits.WORKSPACE`, in MiB",
            values.size("memory_pool_limits.WORKSPACE"),
            releases=_TO_8,
        ),
        taken("--memPoolSize", "`--set memory_pool_limits.…`, MiB unless it says B, K, M or G", values.pools),
        taken(
            "--profilingVerbosity",
            "`--set profiling_verbosity`",
            values.word(
                "profiling_verbosity",
                {
                    "layer_names_only": "LAYER_NAMES_ONLY",
                    "detailed": "DETAILED",
                    "none": "NONE",
                    "default": "LAYER_NAMES_ONLY",
                    "verbose": "DETAILED",
                },
            ),
        ),
        taken(
            "--nvtxMode",
            "`--set profiling_verbosity`",
            values.word(
                "profiling_verbosity", {"default": "LAYER_NAMES_ONLY", "verbose": "DETAILED", "none": "NONE"}
            ),
            releases="8.5",
        ),
        taken(
            "--avgTiming",
            "`--set avg_timing_iterations`; without it TensorRT's default of 1 holds, not trtexec's of 8",
            values.option("avg_timing_iterations"),
        ),
        refused("--minTiming", "TensorRT has it no more: --avgTiming says how often to time", releases=_TO_8),
        refused(
            "--heuristic",
            "TensorRT has it no more: --builderOptimizationLevel=1 or 2 builds quickly",
            value=False,
            releases="8.6",
        ),
        taken("--refit", "`--set refit=true`", values.refit, value=False),
        refused(
            "--refitFromOnnx",
            "submit the model with the new weights: the farm offers its engine refitted, and builds behind it",
            releases="10, 11",
        ),
        taken(
            "--stripWeights",
            "`--set strip_plan=true,refit_identical=true`; beside --refit, refit in place of refit_identical",
            values.strip,
            value=False,
            releases=_FROM_10,
        ),
        taken("--weightless", "as --stripWeights", values.strip, value=False, releases="10"),
        taken(
            "--stripAllWeights",
            "`--set strip_plan=true`, `--set refit=true`",
            values.options(strip_plan=True, refit=True),
            value=False,
            releases=_FROM_10,
        ),
        taken(
            "--versionCompatible",
            "`--set version_compatible=true`",
            values.options(version_compatible=True),
            value=False,
            releases="8.6 to 11.1",
        ),
        taken(
            "--vc",
            "as --versionCompatible",
            values.options(version_compatible=True),
            value=False,
            releases="8.6 to 11.1",
        ),
        taken(
            "--excludeLeanRuntime",
            "`--set exclude_lean_runtime=true`",
            values.options(exclude_lean_runtime=True),
            value=False,
            releases="8.6 to 11.1",
        ),
        needless("--useRuntime", _DLL, only=("full",), releases="8.6 to 11.1"),
        refused("--leanDLLPath", _DLL, releases="8.6 to 11.1"),
        taken("--sparsity", "`--set sparse_weights=true` for enable; force is refused", values.sparsity),
        taken(
            "--noTF32", "`--precision fp32`; without it `tf32`, as trtexec", values.without_tf32, value=False
        ),
        taken("--fp16", "`--precision fp16`", values.precision("fp16"), value=False, releases=_TO_10),
        taken("--bf16", "`--precision bf16`", values.precision("bf16"), value=False, releases="10"),
        taken(
            "--int8",
            "`--precision int8`, with --fp16 `int8+fp16`; samples are given with `--calibration`",
            values.precision("int8"),
            value=False,
            releases=_TO_10,
        ),
        taken("--fp8", "`--precision fp8`", values.precision("fp8"), value=False, releases="8.6 to 10"),
        refused("--int4", "the farm has no INT4; nearest: --fp16", value=False, releases="10"),
        taken("--best", "`--precision best`", values.precision("best"), value=False, releases=_TO_10),
        taken(
            "--stronglyTyped",
            "`--set strongly_typed=true`, for TensorRT 10; other releases have no choice",
            values.strongly_typed,
            value=False,
            releases=_FROM_10,
        ),
        taken("--directIO", "`--set direct_io=true`", values.options(direct_io=True), value=False),
        taken(
            "--precisionConstraints",
            "`--set precision_constraints`",
            values.word("precision_constraints", {"none": "NONE", "prefer": "PREFER", "obey": "OBEY"}),
            releases=_TO_10,
        ),
        refused("--layerPrecisions", _LAYERS, releases=_TO_10),
        refused("--layerOutputTypes", _LAYERS, releases=_TO_10),
        refused(
            "--layerDeviceTypes",
            "the farm sets no device for single layers: --useDLACore with --allowGPUFallback",
            releases="8.6 to 11.1",
        ),
        refused("--decomposableAttentions", _HIDDEN, releases="10, 11"),
        refused(
            "--pluginInstanceNorm",
            "the farm's parser uses the native one",
            value=False,
            releases="8.6 to 11.1",
        ),
        refused("--pi", "the farm's parser uses the native one", value=False, releases="8.6 to 11.1"),
        refused(
            "--nativeInstanceNorm",
            "the farm's parser uses it as the release does",
            value=False,
            releases="8.6",
        ),
        refused("--uint8AsymmetricQuantizationDLA", _HIDDEN, value=False, releases="10, 11"),
        taken(
            "--distributiveIndependence",
            "`--set distributive_independence=true`",
            values.options(distributive_independence=True),
            value=False,
            releases="10.12 to 11.1",
        ),
        needless("--monitorMemory", "the log of every build is kept: `farm logs JOB`", releases="10, 11"),
        refused("--safe", _SAFETY, value=False),
        refused("--consistency", _SAFETY, value=False),
        refused("--restricted", _SAFETY, value=False, releases=_TO_10),
        refused("--dumpKernelText", _SAFETY, value=False, releases="10, 11"),
        refused("--remoteAutoTuningConfig", _SAFETY, releases="10, 11"),
        refused("--cpuOnly", _SAFETY, value=False, releases="11"),
        refused("--safetyPlugins", _SAFETY, releases="10, 11"),
        taken(
            "--buildDLAStandalone",
            "`--set engine_capability=DLA_STANDALONE,default_device_type=DLA`",
            values.options(engine_capability="DLA_STANDALONE", default_device_type="DLA"),
            value=False,
            releases="8.6 to 11.1",
        ),
        taken(
            "--allowGPUFallback", "`--set gpu_fallback=true`", values.options(gpu_fallback=True), value=False
        ),
        taken(
            "--useDLACore",
            "`--set default_device_type=DLA`, `--set DLA_core`; -1 is none",
            values.dla_core,
        ),
        taken("--tacticSources", "`--set tactic_sources`", values.tactic_sources),
        taken("--preview", "`--set preview_features`", values.previews),
        taken(
            "--builderOptimizationLevel",
            "`--set builder_optimization_level`",
            values.option("builder_optimization_level"),
            releases="8.6 to 11.1",
        ),
        taken(
            "--maxTactics",
            "`--set max_num_tactics`; -1 leaves it to the builder",
            values.option("max_num_tactics", usual="-1"),
            releases="10.4 to 11.1",
        ),
        taken(
            "--maxAuxStreams",
            "`--set max_aux_streams`; -1 leaves it to the builder",
            values.option("max_aux_streams", usual="-1"),
            releases="8.6 to 11.1",
        ),
        taken(
            "--tilingOptimizationLevel",
            "`--set tiling_optimization_level`: 0 NONE, 1 FAST, 2 MODERATE, 3 FULL",
            values.word(
                "tiling_optimization_level", {"0": "NONE", "1": "FAST", "2": "MODERATE", "3": "FULL"}
            ),
            releases="10.8 to 11.1",
        ),
        taken(
            "--l2LimitForTiling",
            "`--set l2_limit_for_tiling`, in bytes; -1 leaves it to the builder",
            values.option("l2_limit_for_tiling", usual="-1"),
            releases="10.8 to 11.1",
        ),
        taken(
            "--hardwareCompatibilityLevel",
            "`--set hardware_compatibility_level`",
            values.word(
                "hardware_compatibility_level",
                {
                    "none": "NONE",
                    "ampere+": "AMPERE_PLUS",
                    "sameComputeCapability": "SAME_COMPUTE_CAPABILITY",
                },
            ),
            releases="8.6 to 11.1",
        ),
        taken(
            "--runtimePlatform",
            "`--set runtime_platform`",
            values.word(
                "runtime_platform", {"SameAsBuild": "SAME_AS_BUILD", "WindowsAMD64": "WINDOWS_AMD64"}
            ),
            releases="10.2 to 11.1",
        ),
        taken(
            "--allowWeightStreaming",
            "`--set weight_streaming=true`",
            values.options(weight_streaming=True),
            value=False,
            releases=_FROM_10,
        ),
        taken(
            "--noBuilderCache", "`--set timing_cache=false`", values.options(timing_cache=False), value=False
        ),
        taken(
            "--noCompilationCache",
            "`--set disable_compilation_cache=true`",
            values.options(disable_compilation_cache=True),
            value=False,
            releases=_FROM_10,
        ),
        taken(
            "--errorOnTimingCacheMiss",
            "`--set error_on_timing_cache_miss=true`",
            values.options(error_on_timing_cache_miss=True),
            value=False,
            releases=_FROM_10,
        ),
        needless(
            "--timingCacheFile",
            "the farm keeps timing caches by target and builder flags, and lends them to every build",
            value=True,
        ),
        needless(
            "--saveEngine", "the engine goes into the farm: `farm fetch NAME` writes it to a file", value=True
        ),
        refused("--setBuildRoute", _ROUTES, releases="11.1"),
        refused("--helpBuildRoute", _ROUTES, value=False, releases="11.1"),
        refused("--tuneBuildRoutes", _ROUTES, releases="11.1"),
        refused("--tuneBuildRouteFile", _ROUTES, releases="11.1"),
        refused("--tuningSearch", _ROUTES, releases="11.1"),
        refused("--tuningCacheFile", _ROUTES, releases="11.1"),
        refused("--tuningTimeOut", _ROUTES, releases="11.1"),
        refused("--saveAllEngines", _ROUTES, value=False, releases="11.1"),
        refused("--continue", _ROUTES, value=False, releases="11.1"),
        refused("--dryRun", "`farm submit --dry-run` shows the plan", value=False, releases="11.1"),
        refused(
            "--tempdir", "the build has a scratch folder of its own (FARM_SCRATCH)", releases="8.6 to 11.1"
        ),
        refused(
            "--tempfileControls",
            "what a build may write is the farm's to say (docs/security.md)",
            releases="8.6 to 11.1",
        ),
    )
)
