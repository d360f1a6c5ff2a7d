"""`farm benchmark`: measure filed engines again, or hold one against another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from cli.benchmark_options import benchmark_as_wish, benchmark_of, benchmark_options
from cli.benchmark_view import NewRun, show_comparison, show_runs, spreads_of
from cli.build_request import Wish
from cli.context import CommaSeparated, flattened, json_option, opened
from cli.engine_words import find_engine, find_engines, target_options
from cli.render import show_json, show_line, show_note
from cli.submission import announce
from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.services.benchmarking import (
    BenchmarkOrder,
    check_batches,
    queue_benchmarks,
    usual_batches,
    why_not_run,
)
from farm.services.comparing import batches_of_both, check_comparable
from farm.services.wanted_device import wanted_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cli.engine_words import NamedEngine
    from farm.bootstrap import Farm
    from farm.domain.benchmarks import BenchmarkSpec
    from farm.domain.filing import Engine, Run
    from farm.domain.models import Model
    from farm.domain.work import Submission
    from farm.services.ports import Transaction


@click.command(short_help="Measure filed engines again, or hold one against another.")
@click.argument("what", metavar="[ENGINE|MODEL]", required=False)
@click.option(
    "--ab",
    nargs=2,
    metavar="A B",
    help="Run engines A and B in turn on one device, and say how far they are apart.",
)
@click.option("--on", "on_device", metavar="DEVICE", help="On this device alone: its UUID, host or worker.")
@click.option(
    "--repeat",
    type=click.IntRange(1),
    default=1,
    help="Measure so many times, and show how far the medians spread.",
)
@click.option(
    "--batch",
    "batches",
    multiple=True,
    type=CommaSeparated(),
    help="Batch sizes. [default: those measured before]",
)
@benchmark_options
@target_options
@click.option("--wait", is_flag=True, help="Follow until it is done.")
@click.option("--local", is_flag=True, help="Run a worker in this process until it is done.")
@json_option
@click.pass_context
def benchmark(ctx: click.Context, /, **given: Any) -> None:
    """Measure ENGINE (a number, a digest, a job), or every engine of MODEL that can be run.

    Each run joins the engine's history. With --ab, engine B is held against engine A: both are loaded in one process
    and run in turn, block by block (A B B A), so that what drifts weighs on both alike.

    \b
    farm benchmark 12 --wait
    farm benchmark resnet50 --gpu h200 --batch 1,8 --repeat 5 --wait
    farm benchmark --ab 12 15 --batch 8 --wait
    """
    _check(given)
    farm = opened(ctx)
    if given["ab"]:
        named, orders = _comparison(farm, given)
    else:
        named, orders = _benchmarks(farm, given)
    submission = queue_benchmarks(farm.database, orders, farm.settings.user, _wish(orders, given))
    announce(farm)
    if not (given["wait"] or given["local"]):
        _tell_queued(submission, as_json=given["as_json"])
        return
    from cli.waiting import wait_for

    code = wait_for(farm, submission, local=given["local"], as_json=given["as_json"], shows_result=False)
    if code:
        ctx.exit(code)
    runs = _runs(farm, submission, named)
    if given["ab"]:
        _show_comparison(runs, named, as_json=given["as_json"])
    elif given["as_json"]:
        show_json(
            {
                "submission": submission.id,
                "runs": [new.as_json() for new in runs],
                "spread": [one.as_json() for one in spreads_of(runs)],
            }
        )
    else:
        show_runs(runs)


def _check(given: dict[str, Any]) -> None:
    if bool(given["what"]) == bool(given["ab"]):
        raise InvalidRequestError(
            "name what is to be measured: an engine or a model, or two engines with --ab A B",
            hint="`farm engines` lists them; `farm benchmark 12 --wait` measures engine 12.",
        )
    if given["ab"] and given["repeat"] > 1:
        raise InvalidRequestError(
            "--ab and --repeat do not go together: a comparison repeats its blocks itself"
        )


def _benchmarks(farm: Farm, given: dict[str, Any]) -> tuple[list[NamedEngine], list[BenchmarkOrder]]:
    with farm.database.reading() as transaction:
        found = find_engines(transaction, given["what"], given["gpu"], given["toolchain"], given["precision"])
        refusals = [why_not_run(named.engine) for named in found]
        named = [one for one, refusal in zip(found, refusals, strict=True) if refusal is None]
        left_out = [refusal for refusal in refusals if refusal is not None]
        if not named:
            raise left_out[0]
        for refusal in left_out:
            show_note(f"left out: {refusal.message}")
        device = _device(transaction, given["on_device"], [one.engine for one in named])
        if device:
            named = [one for one in named if _serves(transaction, device, one.engine)]
        batches, orders = _batches(given), []
        for one in named:
            model = transaction.models.get(one.engine.spec.model_sha256)
            check_batches(model, one.engine, batches)
            spec = _spec(batches or usual_batches(model, one.engine), given)
            orders.append(BenchmarkOrder(one.engine, spec, device, given["repeat"]))
    return named, orders


def _comparison(farm: Farm, given: dict[str, Any]) -> tuple[list[NamedEngine], list[BenchmarkOrder]]:
    filters = (given["gpu"], given["toolchain"], given["precision"])
    with farm.database.reading() as transaction:
        first, second = (find_engine(transaction, word, *filters) for word in given["ab"])
        check_comparable(first.engine, second.engine)

        def with_model(engine: Engine) -> tuple[Model, Engine]:
            return transaction.models.get(engine.spec.model_sha256), engine

        batches = batches_of_both(with_model(first.engine), with_model(second.engine), _batches(given))
        device = _device(transaction, given["on_device"], [first.engine])
    spec = _spec(batches, given)
    return [first, second], [BenchmarkOrder(first.engine, spec, device, against=second.engine)]


def _batches(given: dict[str, Any]) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in flattened(given["batches"]))
    except ValueError:
        raise InvalidRequestError("--batch takes whole numbers: 1,8,32") from None


def _spec(batches: tuple[int, ...], given: dict[str, Any]) -> BenchmarkSpec:
    said = {name: value for name, value in benchmark_as_wish(given).items() if value not in (None, ())}
    return replace(benchmark_of(Wish(said)), batches=batches)


def _device(transaction: Transaction, word: str | None, engines: Sequence[Engine]) -> str:
    if not word:
        return ""
    return wanted_device(transaction, word, {engine.spec.target for engine in engines}).uuid


def _serves(transaction: Transaction, device: str, engine: Engine) -> bool:
    workers = transaction.fleet.workers()
    return any(worker.device.uuid == device and engine.spec.target in worker.targets for worker in workers)


def _wish(orders: Sequence[BenchmarkOrder], given: dict[str, Any]) -> dict[str, Any]:
    """What is noted in the submission."""
    against = orders[0].against
    return {
        "benchmark": [order.engine.id for order in orders],
        **({"against": against.id} if against else {}),
        **({"repeat": given["repeat"]} if given["repeat"] > 1 else {}),
        **({"on_device": orders[0].on_device} if orders[0].on_device else {}),
    }


def _tell_queued(submission: Submission, *, as_json: bool) -> None:
    jobs = [cell.job_id for cell in submission.cells]
    if as_json:
        show_json({"submission": submission.id, "jobs": jobs, "runs": None})
        return
    show_line(f"submission {submission.id}: {len(jobs)} benchmark(s) queued: {', '.join(jobs)}")
    show_note(f"Follow them with `farm watch {submission.id}`; or add --wait, which shows the figures too.")


def _runs(farm: Farm, submission: Submission, named: Sequence[NamedEngine]) -> list[NewRun]:
    """The runs that a submission has made: of a job that measured again after a disturbance the last."""
    found = []
    with farm.database.reading() as transaction:
        by_id = {one.engine.id: one for one in named}
        for number in dict.fromkeys(cell.engine_id for cell in submission.cells):
            assert number is not None  # noqa: S101 - every benchmark is of an engine
            one = find_engine(transaction, str(number))
            by_id[number] = type(one)(one.engine, by_id[number].model, one.slug)
        for cell in submission.cells:
            assert cell.engine_id is not None  # noqa: S101
            attempts = {attempt.id for attempt in transaction.jobs.attempts(cell.job_id)}
            of_job = [run for run in by_id[cell.engine_id].engine.runs if run.attempt_id in attempts]
            if not of_job:
                raise NotFoundError(
                    "the benchmark is done and left no run", hint=f"`farm logs {cell.job_id}` has its log."
                )
            found.append(NewRun(by_id[cell.engine_id], of_job[-1]))
    return found


def _show_comparison(runs: Sequence[NewRun], named: Sequence[NamedEngine], *, as_json: bool) -> None:
    first, second = named
    run: Run = runs[0].run
    if not run.comparison:
        raise NotFoundError("nothing here could run the two engines, so they were not compared")
    if as_json:
        show_json(
            {
                "a": first.engine.id,
                "b": second.engine.id,
                "run": run.id,
                "device": run.device_uuid,
                "host": run.host,
                "measured_at": run.started_at,
                "comparison": dict(run.comparison),
            }
        )
    else:
        show_comparison(first, second, run)
