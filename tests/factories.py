"""Small builders of domain values: each gives a valid one, and takes the changes that a test is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from farm.domain.accuracy import Accuracy, OutputAccuracy
from farm.domain.benchmarks import BenchmarkSpec, Measurement
from farm.domain.canaries import Canary
from farm.domain.digests import Digest, digest_of_bytes
from farm.domain.fleet import WorkerRegistration
from farm.domain.jobs import Failure, FailureClass, JobKind
from farm.domain.latencies import LatencySummary
from farm.domain.manifests import SignedManifest
from farm.domain.models import Model, ModelFile, Tensor
from farm.domain.precisions import PRECISIONS
from farm.domain.shapes import Shape, ShapeRange
from farm.domain.specs import BuildSpec
from farm.domain.targets import Device, DeviceKind, DeviceType, Target, ToolchainId
from farm.domain.timing_caches import CacheUse, ReturnedCache, cache_flags
from farm.domain.toolchains import BuilderOption, ToolchainDescription
from farm.domain.work import AttemptOutcome, JobRequest

OPTIONS = (
    BuilderOption("builder_optimization_level", "int", default=3, maximum=5),
    BuilderOption("memory_pool_limits.WORKSPACE", "bytes", minimum=1),
    BuilderOption("sparse_weights", "bool", default=False),
    BuilderOption("hardware_compatibility_level", "choice", default="NONE", choices=("NONE", "AMPERE_PLUS")),
    BuilderOption(
        "tactic_sources", "signed-set", default=[], choices=("CUBLAS", "CUDNN", "EDGE_MASK_CONVOLUTIONS")
    ),
    BuilderOption(
        "calibration_algorithm",
        "choice",
        default="ENTROPY_CALIBRATION_2",
        choices=("ENTROPY_CALIBRATION_2", "MINMAX_CALIBRATION"),
    ),
)


def a_digest(content: str = "bytes") -> Digest:
    """The digest of a text: another text, another digest."""
    return digest_of_bytes(content.encode())


def a_tensor(name: str = "input", shape: Shape = (-1, 3, 8, 8), dtype: str = "float32") -> Tensor:
    """An input whose batch is dynamic."""
    return Tensor(name, dtype, shape, tuple("N" if size == -1 else "" for size in shape))


def a_model(content: str = "resnet", **changes: Any) -> Model:
    """A model with one input of dynamic batch; another content is another model."""
    digest = a_digest(content)
    model = Model(
        digest=digest,
        files=(ModelFile("model.onnx", digest),),
        inputs=(a_tensor(),),
        outputs=(a_tensor("output", (-1, 10)),),
        opset=17,
        ir_version=8,
        producer="pytorch 2.5",
        parameters=1234,
        operators={"Conv": 2, "Relu": 1},
    )
    return replace(model, **changes)


def a_device_type(kind: DeviceKind = DeviceKind.GPU, **changes: Any) -> DeviceType:
    """An H200; or a CPU, or any GPU of compute capability 8.9."""
    types = {
        DeviceKind.GPU: DeviceType(DeviceKind.GPU, "NVIDIA H200", "9.0", units=132, memory_gib=140),
        DeviceKind.CPU: DeviceType(DeviceKind.CPU, "AMD EPYC 9334", units=16, variant="avx512"),
        DeviceKind.COMPUTE_CAPABILITY: DeviceType.any_of("8.9"),
    }
    return replace(types[kind], **changes)


def an_l4() -> DeviceType:
    """A second type of GPU."""
    return DeviceType(DeviceKind.GPU, "NVIDIA L4", "8.9", units=58, memory_gib=22)


def a_device(device_type: DeviceType | None = None, **changes: Any) -> Device:
    """An H200 in a host."""
    device = Device(
        uuid="GPU-0",
        device_type=device_type or a_device_type(),
        index=0,
        memory_mib=143771,
        driver_version="580.159.03",
        host="host-a",
    )
    return replace(device, **changes)


def a_toolchain_id(name: str = "tensorrt", version: str = "8.6.0", variant: str = "cu12") -> ToolchainId:
    """TensorRT 8.6.0."""
    return ToolchainId(name, version, variant)


def a_toolchain(**changes: Any) -> ToolchainDescription:
    """TensorRT 8.6.0, which does everything but fp8; `name`, `version` and `variant` change its id."""
    names = {key: changes.pop(key) for key in ("name", "version", "variant") if key in changes}
    description = ToolchainDescription(
        id=a_toolchain_id(**names),
        precisions={**dict.fromkeys(PRECISIONS, ""), "fp8": "this version has no fp8"},
        options=OPTIONS,
        serves=DeviceKind.GPU,
        compute_capabilities=("7.0", "9.0"),
        max_opset=17,
    )
    return replace(description, **changes)


def a_cpu_toolchain(**changes: Any) -> ToolchainDescription:
    """ONNX Runtime, which builds fp32 for the CPU and knows one option."""
    names = {key: changes.pop(key) for key in ("version", "variant") if key in changes}
    description = ToolchainDescription(
        id=a_toolchain_id("onnxruntime", **{"version": "1.23.2", "variant": "", **names}),
        precisions={"fp32": ""},
        options=(BuilderOption("intra_op_num_threads", "int", default=0),),
        serves=DeviceKind.CPU,
    )
    return replace(description, **changes)


def a_target(**changes: Any) -> Target:
    """An H200 with TensorRT 8.6.0."""
    return replace(Target(a_device_type(), a_toolchain_id()), **changes)


def a_shape_range(low: int = 1, mid: int = 8, high: int = 16, rest: Shape = (3, 8, 8)) -> ShapeRange:
    """Shapes of the default input."""
    return ShapeRange((low, *rest), (mid, *rest), (high, *rest))


def a_build_spec(**changes: Any) -> BuildSpec:
    """The default model on the default target in fp16, with batches 1 to 16."""
    spec = BuildSpec(
        model_sha256=a_model().digest.sha256,
        target=a_target(),
        precision="fp16",
        builder_config={"builder_optimization_level": 4, "tactic_sources": ["+CUDNN", "-CUBLAS"]},
        profiles=({"input": a_shape_range()},),
    )
    return replace(spec, **changes)


def a_job_request(*, batches: tuple[int, ...] = (1, 8), **changes: Any) -> JobRequest:
    """A build that measures two batch sizes."""
    return replace(JobRequest(benchmark=BenchmarkSpec(batches=batches)), **changes)


def a_benchmark_request(*, batches: tuple[int, ...] = (1, 8), **changes: Any) -> JobRequest:
    """A benchmark of a filed engine."""
    return a_job_request(batches=batches, kind=JobKind.BENCHMARK, **changes)


def a_worker(**changes: Any) -> WorkerRegistration:
    """A worker with an H200 and TensorRT 8.6.0."""
    registration = WorkerRegistration(
        id="w-1",
        host="host-a",
        pid=100,
        device=a_device(),
        toolchains=(a_toolchain(),),
        device_types=(a_device_type(),),
        version="0.1.0",
        name=f"worker-of-{changes.get('id', 'w-1')}",
    )
    return replace(registration, **changes)


def a_summary(median_ms: float = 2.0, count: int = 20) -> LatencySummary:
    """Figures around a median."""
    return LatencySummary(
        median_ms=median_ms,
        mean_ms=median_ms + 0.125,
        min_ms=median_ms - 0.5,
        max_ms=median_ms + 1.0,
        p90_ms=median_ms + 0.25,
        p95_ms=median_ms + 0.5,
        p99_ms=median_ms + 0.75,
        std_ms=0.0625,
        count=count,
    )


def a_measurement(batch: int = 1, **changes: Any) -> Measurement:
    """A batch size's figures on a GPU."""
    measurement = Measurement(
        batch=batch,
        shapes={"input": (batch, 3, 8, 8)},
        compute=a_summary(2.0),
        latency=a_summary(3.0),
        throughput_per_s=500.0 * batch,
        h2d=a_summary(0.75),
        d2h=a_summary(0.625),
        graph=True,
    )
    return replace(measurement, **changes)


def an_output_accuracy(name: str = "output", **changes: Any) -> OutputAccuracy:
    """An output that is nearly right."""
    output = OutputAccuracy(name, 0.001, 0.01, 0.9999, 55.0, 1.0, 0, (0, 3), 1.5, 1.501)
    further = {"l2_error": 0.002, "rel_l2_error": 0.0018, "psnr_db": 60.0, "top5_agreement": 1.0}
    worst = {"worst_rel_index": (0, 4), "worst_rel_expected": 0.1, "worst_rel_actual": 0.101}
    return replace(output, **{**further, **worst, **changes})


def an_accuracy(*outputs: OutputAccuracy) -> Accuracy:
    """Outputs compared with ONNX Runtime's."""
    return Accuracy(outputs or (an_output_accuracy(),), samples=1, reference="onnxruntime 1.23.2 fp32")


def a_cache_use(**changes: Any) -> CacheUse:
    """A build of the default spec that was lent nothing and came back with a cache."""
    use = CacheUse(
        flags=cache_flags(a_build_spec()), bytes_after=12, entries_before=0, entries_after=40, build_s=60.0
    )
    return replace(use, **{"hits": 10, **changes})


def a_returned_cache(
    content: str | None = "timing cache", expected: Digest | None = None, **changes: Any
) -> ReturnedCache:
    """What a build came back with, given what was filed when it began."""
    lent = {"lent": expected.sha256, "bytes_before": expected.size_bytes} if expected else {}
    digest = None if content is None else a_digest(content)
    return ReturnedCache(a_cache_use(**{**lent, **changes}), expected, digest)


def an_outcome(
    *, batches: tuple[int, ...] = (1, 8), engine: str | None = "plan", **changes: Any
) -> AttemptOutcome:
    """A build that was verified and timed; without an engine, a benchmark."""
    outcome = AttemptOutcome(
        engine=None if engine is None else a_digest(engine),
        build={
            "precision_note": "fp16 where faster",
            "device_memory_bytes": 1 << 20,
            "layers": 12,
            "details": {},
        },
        accuracy=an_accuracy().as_json(),
        unverified_reason="",
        measurements=tuple(a_measurement(batch).as_json() for batch in batches),
        samples=a_digest(f"samples of {engine} {batches}"),
        timing_cache=a_returned_cache(),
        seconds={"build": 12.5, "verify": 1.0},
        environment={"tensorrt": "8.6.0"},
        signed=None if engine is None else a_signed_manifest(engine),
    )
    return replace(outcome, **changes)


def a_canary(**changes: Any) -> Canary:
    """The farm's canary on the usual device."""
    canary = Canary(
        device_uuid=a_device().uuid,
        toolchain=a_toolchain_id(),
        engine=a_digest("canary"),
        host="host-a",
        driver_version=a_device().driver_version,
        worker_id="w-1",
        median_ms=1.0,
    )
    return replace(canary, **changes)


def a_signed_manifest(engine: str = "plan", signing_key: str = "5" * 64) -> SignedManifest:
    """What somebody says who has no key at all: for those who do not check."""
    return SignedManifest({"version": 1, "engine": str(a_digest(engine))}, "c2lnbmVk", signing_key)


def a_failure(**changes: Any) -> Failure:
    """A failure that another attempt may not meet."""
    failure = Failure(
        FailureClass.TRANSIENT, "OutOfMemoryError", "the device ran out of memory", "Free some.", "build"
    )
    return replace(failure, **changes)


def a_crash() -> Failure:
    """A child process that died by a signal."""
    return a_failure(code="ChildCrashedError", message="the child died by SIGSEGV", is_crash=True)
