"""Engines of one model with figures, as a report reads them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from farm.domain.calibration import Calibration
from farm.domain.filing import Engine, Run
from farm.domain.methods import Method
from farm.domain.report import ModelReport, Wanted, figures_of, lines_of
from farm.domain.report_bases import with_bases
from farm.domain.work import ModelName
from tests.factories import (
    a_build_spec,
    a_device_type,
    a_digest,
    a_measurement,
    a_model,
    a_summary,
    a_target,
    a_toolchain_id,
    an_accuracy,
    an_output_accuracy,
)

if TYPE_CHECKING:
    from farm.domain.report import Line
    from farm.domain.targets import ToolchainId

GRAPH, PLAIN = Method(graph=True), Method()
NAME = ModelName("resnet50", 1, a_model().digest.sha256, datetime(2026, 11, 1, tzinfo=UTC))
TORCH = a_toolchain_id("torch", "2.13.0", "")
ORT = a_toolchain_id("onnxruntime", "1.23.2", "")


def a_figure(batch: int, median_ms: float, method: Method = GRAPH, **changes: Any) -> Any:
    """A measurement with a median; as many inferences per second as follow from it."""
    return replace(
        a_measurement(batch, compute=a_summary(median_ms, 200), latency=a_summary(median_ms + 1, 200)),
        **{"throughput_per_s": 1000 * max(batch, 1) / median_ms, **vars(method), **changes},
    )


def a_run(number: int, *measurements: Any, **changes: Any) -> Run:
    """A run of engine 1, each a minute after the one before."""
    run = Run(
        id=number,
        engine_id=1,
        device_uuid="GPU-0123456789abcdef",
        driver_version="580.159.04",
        host="host-a",
        started_at=datetime(2026, 11, 21, 12, number, tzinfo=UTC),
        accuracy=an_accuracy(replace(an_output_accuracy(), snr_db=55.0)),
        measurements=measurements,
        samples=None,
    )
    return replace(run, **changes)


def an_engine(
    number: int, *runs: Run, toolchain: ToolchainId | None = None, cpu: bool = False, **spec: Any
) -> Engine:
    """An engine that took ten seconds times its number to build."""
    device_type = a_device_type(kind=type(a_device_type().kind)("cpu")) if cpu else a_device_type()
    target = a_target(device_type=device_type, toolchain=toolchain or a_toolchain_id())
    return Engine(
        id=number,
        spec=a_build_spec(**{"target": target, "builder_config": {}, "precision": "fp16", **spec}),
        digest=replace(a_digest("plan"), size_bytes=3 << 20),
        build_s=10.0 * number,
        precision_note="",
        device_memory_bytes=1 << 30,
        layers=5,
        unverified_reason="",
        job_id="j",
        created_at=datetime(2026, 11, 21, 12, tzinfo=UTC),
        runs=runs,
    )


def lines(
    *engines: Engine, wanted: Wanted | None = None, methods: tuple[Method, ...] = (GRAPH,)
) -> list[Line]:
    """The lines of engines, in their order."""
    wanted = wanted or Wanted()
    return [
        line
        for engine in engines
        for line in lines_of(
            engine,
            "cpu" if engine.spec.target.device_type.kind.value == "cpu" else "nvidia-h200",
            figures_of(engine, wanted),
            methods,
            with_tainted=wanted.with_tainted,
        )
    ]


def a_report(*engines: Engine, than: str = "", name: ModelName = NAME, **given: Any) -> ModelReport:
    """A report of engines in their order."""
    return with_bases(ModelReport(name, tuple(lines(*engines, **given))), than)


def a_usual_report(**changes: Any) -> ModelReport:
    """PyTorch, TensorRT in FP16 and INT8 at three batch sizes; INT8 has a tainted figure, which is asked for."""
    settled = {"interval_ms": (1.99, 2.02), "taints": ()}
    torch = an_engine(1, a_run(1, a_figure(1, 4.0), a_figure(8, 8.0), a_figure(32, 32.0)),
                      toolchain=TORCH, precision="fp32")  # fmt: skip
    half = an_engine(2, a_run(2, a_figure(1, 2.0, **settled), a_figure(8, 2.5), a_figure(32, 8.0)))
    worse = an_accuracy(replace(an_output_accuracy(), snr_db=20.5, cosine=0.98, top1_agreement=0.875))
    int8 = an_engine(
        3,
        a_run(3, a_figure(1, 1.0), a_figure(8, 1.25, taints=("drift",)), accuracy=worse),
        precision="int8",
        calibration=Calibration(a_digest("samples").sha256),
    )
    return a_report(torch, half, int8, wanted=Wanted(with_tainted=True), **changes)


def many_lines(count: int) -> ModelReport:
    """Engines on two devices, whose options have long names."""
    return a_report(
        *(
            an_engine(
                number,
                a_run(
                    number % 60,
                    *(a_figure(batch, (1 + number / 7) * batch**0.6) for batch in (1, 2, 3, 4, 8, 128)),
                ),
                builder_config={"tactic_sources": [f"+SOMETHING_{number}_THAT_IS_LONG_AND_HAS_NO_BLANKS"]},
                cpu=number % 3 == 0,
                toolchain=ORT if number % 3 == 0 else None,
            )
            for number in range(1, count + 1)
        ),
        name=replace(NAME, name="a-model-of-a-name-without-end-" * 8),
    )
