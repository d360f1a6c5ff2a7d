"""`farm profile`: where an engine's time goes, layer by layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context import json_option, opened
from cli.engine_words import find_engine
from cli.render import NONE, ms, show_json, show_line, show_note
from cli.stored_profiles import profile_as_json, read_profiles, show_profile
from cli.submission import announce
from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.services.profiling import profiled_run, profiling_benchmark, queue_profile

if TYPE_CHECKING:
    from cli.engine_words import NamedEngine
    from farm.bootstrap import Farm
    from farm.domain.filing import Run
    from farm.domain.layer_times import LayerProfile
    from farm.domain.work import Submission

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(short_help="Show where an engine's time goes, layer by layer.")
@click.argument("what", metavar="ENGINE|JOB")
@click.option(
    "--batch", type=click.IntRange(1), help="At this batch size. [default: the one it is tuned for]"
)
@click.option("--gpu", "--on", "gpu", help="Of a model's engines the one for this device type: h200, cpu, …")
@click.option("--toolchain", help="Of a model's engines the one of this toolchain.")
@click.option("--precision", help="Of a model's engines the one of this precision.")
@click.option(
    "--chrome-trace", type=_FILE, help="Write a trace for chrome://tracing and ui.perfetto.dev there."
)
@click.option("--again", is_flag=True, help="Profile anew, even if a profile is stored.")
@click.option("--nsys", is_flag=True, help="Have Nsight Systems look on instead, where it is installed.")
@click.option("-o", "--output", type=_FILE, help="Write the report of Nsight Systems there.")
@click.option("--wait", is_flag=True, help="Follow until it is done.")
@click.option("--local", is_flag=True, help="Run a worker in this process until it is done.")
@json_option
@click.pass_context
def profile(ctx: click.Context, /, **given: Any) -> None:
    """Show where the time of ENGINE goes (a number, a digest, a model's name), or of the engine of JOB.

    A stored profile is shown at once. Otherwise a benchmark is queued that profiles after it has measured: TensorRT's
    IProfiler, or ONNX Runtime's profiler. With --nsys the benchmark runs under Nsight Systems, and its report is kept.

    \b
    farm profile 12 --wait
    farm profile resnet50 --gpu h200 --precision fp16 --batch 8 --chrome-trace out.json
    farm profile 12 --nsys --wait -o resnet50.nsys-rep
    """
    _check(given)
    farm = opened(ctx)
    with farm.database.reading() as transaction:
        named = find_engine(transaction, given["what"], given["gpu"], given["toolchain"], given["precision"])
    newest = max((run.id for run in named.engine.runs), default=0)
    run = None if given["again"] else _stored(named, given)
    if run is None:
        submission = _queue(farm, named, given)
        if not (given["wait"] or given["local"]):
            _tell_queued(named, submission, as_json=given["as_json"])
            return
        code = _wait(farm, submission, given)
        if code:
            ctx.exit(code)
        with farm.database.reading() as transaction:
            named = find_engine(transaction, str(named.engine.id))
        run = _stored(named, given, after=newest)
        if run is None:
            raise NotFoundError(
                "the benchmark is done and left no profile",
                hint=f"`farm logs {submission.cells[0].job_id}` has its log.",
            )
    if given["nsys"]:
        _give_report(farm, named, run, given)
    else:
        _show(farm, named, run, given)


def _check(given: dict[str, Any]) -> None:
    if given["nsys"] and given["chrome_trace"]:
        raise InvalidRequestError(
            "--nsys leaves a report for Nsight Systems, and no Chrome trace", hint="Leave one of the two out."
        )
    if given["output"] and not given["nsys"]:
        raise InvalidRequestError(
            "--output is for the report of --nsys", hint="A Chrome trace is written with --chrome-trace FILE."
        )


def _stored(named: NamedEngine, given: dict[str, Any], *, after: int = 0) -> Run | None:
    return profiled_run(named.engine, given["batch"], nsys=given["nsys"], after=after)


def _queue(farm: Farm, named: NamedEngine, given: dict[str, Any]) -> Submission:
    with farm.database.reading() as transaction:
        model = transaction.models.get(named.engine.spec.model_sha256)
    benchmark = profiling_benchmark(model, named.engine, given["batch"], nsys=given["nsys"])
    submission = queue_profile(farm.database, named.engine, benchmark, farm.settings.user)
    announce(farm)
    return submission


def _tell_queued(named: NamedEngine, submission: Submission, *, as_json: bool) -> None:
    job_id = submission.cells[0].job_id
    if as_json:
        show_json({"engine": named.engine.id, "submission": submission.id, "job": job_id, "profiles": None})
        return
    show_line(f"{named.title}: no such profile is stored; job {job_id} makes one")
    show_note(
        f"Follow it with `farm watch {submission.id}`; then `farm profile {named.engine.id}` shows it. Or add --wait."
    )


def _wait(farm: Farm, submission: Submission, given: dict[str, Any]) -> int:
    """Waits for the end; the exit code, 0 if it went well."""
    from cli.waiting import wait_for

    return wait_for(farm, submission, local=given["local"], as_json=given["as_json"], shows_result=False)


def _show(farm: Farm, named: NamedEngine, run: Run, given: dict[str, Any]) -> None:
    profiles = read_profiles(farm, run, given["batch"])
    if given["chrome_trace"]:
        _write_trace(given["chrome_trace"], profiles, named)
    if given["as_json"]:
        show_json(
            {
                "engine": named.engine.id,
                "run": run.id,
                "device": run.device_uuid,
                "host": run.host,
                "started_at": run.started_at,
                "profiles": [profile_as_json(each) for each in profiles],
            }
        )
        return
    show_line(named.title)
    show_line(f"run {run.id} on {run.host} ({run.device_uuid}), {run.started_at:%Y-%m-%d %H:%M} UTC")
    for each in profiles:
        show_line()
        show_profile(each)
        whole = [
            m.compute.median_ms
            for m in run.measurements
            if m.batch == each.batch and str(m.method) == "plain"
        ]
        show_line(f"The whole engine, without a profiler: {ms(whole[0]) if whole else NONE} ms median.")
    if given["chrome_trace"]:
        show_note(f"trace written to {given['chrome_trace']}")


def _write_trace(path: Path, profiles: list[LayerProfile], named: NamedEngine) -> None:
    from farm.domain.chrome_trace import chrome_trace

    try:
        path.write_text(json.dumps(chrome_trace(profiles, named.title)))
    except OSError as error:
        raise InvalidRequestError(f"{path} can not be written: {error.strerror}") from error


def _give_report(farm: Farm, named: NamedEngine, run: Run, given: dict[str, Any]) -> None:
    with farm.database.reading() as transaction:
        digest = transaction.engines.artifact(run.nsys_sha256)
    path: Path | None = given["output"]
    if path is not None:
        farm.store.fetch(digest, path.absolute())
    if given["as_json"]:
        show_json(
            {"engine": named.engine.id, "run": run.id, "nsys_report": str(digest), "path": path and str(path)}
        )
        return
    show_line(f"{named.title}: report of Nsight Systems, run {run.id}, sha256 {digest.short}…")
    show_line(
        f"written to {path}"
        if path
        else "Write it to a file with -o report.nsys-rep, and open it with nsys-ui."
    )
