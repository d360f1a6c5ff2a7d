"""`farm demo`: the farm's main job on this machine, in under a minute."""

from __future__ import annotations

import shlex
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context import json_option, settings_of
from cli.render import ms, show_json, show_line, show_note
from farm.domain.errors import FarmError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from farm.bootstrap import Farm
    from farm.domain.work import Submission
    from farm.settings import Settings

MODEL = "digits"
BATCHES = (1, 8, 32)


@click.command(short_help="Build, verify and time a small model here; a tour in under a minute.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the demo's farm lives. [default: `demo` in the farm's folder]",
)
@json_option
@click.pass_context
def demo(ctx: click.Context, folder: Path | None, as_json: bool) -> None:
    """Submit a small classifier of handwritten digits to every target that this machine can serve.

    Opens an embedded farm in a folder of its own, shows progress, the table of engines, and uses the
    engine fetched for this very machine on one digit.

    \b
    farm demo
    """
    from cli.waiting import exit_code_of, wait_for
    from farm.bootstrap import open_farm
    from farm.services.progress import submission_progress
    from farm.settings import EMBEDDED_BROKER

    usual = settings_of(ctx)
    home = (folder or usual.home / "demo").expanduser().absolute()
    settings = replace(
        usual,
        home=home,
        database_url=f"sqlite:///{home / 'farm.db'}",
        store=home / "artifacts",
        scratch=home / "scratch",
        broker_url=EMBEDDED_BROKER,
        signing_key=None,
        trusted_keys=None,
    )
    _bring_up(settings)
    farm = open_farm(settings)
    if not as_json:
        show_line(f"An embedded farm in {home}. Looking at what this machine can build for …")
    submission = _submit(farm, as_json=as_json)
    status = (
        wait_for(farm, submission, local=True, as_json=False)
        if not as_json
        else _wait_quietly(farm, submission)
    )
    with farm.database.reading() as transaction:
        progress = submission_progress(transaction, submission.id)
    engine_path = home / "digits.engine"
    used = _use_engine(farm, engine_path)
    if as_json:
        from cli.tables import engine_as_json, progress_as_json
        from farm.services.targets import slugs_of

        with farm.database.reading() as transaction:
            slugs = slugs_of(transaction)
        engines = [engine_as_json(cell.engine, slugs) for cell in progress.cells if cell.engine]
        show_json({**progress_as_json(progress), "engines": engines, "fetched": str(engine_path), **used})
    else:
        _tell(engine_path, used, home)
    ctx.exit(status or exit_code_of(progress))


def _submit(farm: Farm, *, as_json: bool) -> Submission:
    from cli.tables import refusals
    from farm.domain.benchmarks import BenchmarkSpec
    from farm.domain.verification import VerificationSpec
    from farm.domain.work import JobRequest
    from farm.samples import digits_data, digits_model
    from farm.services.plan import BuildRequest, plan_builds
    from farm.services.submit import SubmitOrder, keep_model, submit_plan
    from farm.storage.onnx_files import read_model
    from workers.machine import describe_machine

    describe_machine(farm)
    model = read_model(digits_model())
    keep_model(farm.store, model, digits_model().parent, lambda _line: None)
    inputs = farm.store.put_file(digits_data())
    with farm.database.transaction() as transaction:
        transaction.engines.add_artifact(inputs, "inputs")
        request = BuildRequest(precisions=("fp32", "tf32", "fp16"), batches=BATCHES, skip_unsupported=True)
        plan = plan_builds(transaction, model, request)
    job = JobRequest(
        benchmark=BenchmarkSpec(warmup_ms=100, duration_ms=200),
        verification=VerificationSpec(inputs_sha256=inputs.sha256),
    )
    submission = submit_plan(
        farm.database, model, plan, SubmitOrder(MODEL, farm.settings.user, {"made-by": "demo"}, job)
    )
    if not as_json:
        show_line(
            f"{submission.id}: {MODEL}, {model.parameters:,} parameters, 64 labelled images, "
            f"to {len(plan.cells)} (target x precision) cells at batch {', '.join(map(str, plan.batches))}"
        )
        for line in refusals(plan.refused):
            show_note(line)
    return submission


def _wait_quietly(farm: Farm, submission: Submission) -> int:
    from contextlib import ExitStack

    from cli.live import follow
    from cli.waiting import start_local_worker

    with ExitStack() as stack:
        start_local_worker(farm, stack)
        follow(farm, submission.id, quiet=True, may_wait=lambda: True)
    return 0


def _use_engine(farm: Farm, path: Path) -> dict[str, object]:
    """Fetches the engine for this very machine and shows it one digit.

    Raises:
        NoEngineFitsError: nothing built here fits this machine, which should not happen.
    """
    import numpy as np

    from farm.bootstrap import open_trusted_keys
    from farm.samples import digits_data
    from farm.services.fetch import FetchQuery, find_engine, host_device_types
    from farm.services.trust import check_fetched
    from workers.devices import discover_devices

    types = host_device_types([device.device_type for device in discover_devices()])
    with farm.database.reading() as transaction:
        found = find_engine(transaction, FetchQuery(MODEL, device_types=types, precision="fp32"))
    engine = found.engine
    check_fetched(engine, found.name, open_trusted_keys(farm))
    farm.store.fetch(engine.digest, path)
    with np.load(digits_data()) as data:
        image, label = data["image"][:1], int(data["labels"][0])
    scores = _scores(path, engine.spec.target.toolchain.name, image)
    return {
        "toolchain": str(engine.spec.target.toolchain),
        "precision": engine.spec.precision,
        "picture": _picture(image[0, 0]),
        "label": label,
        "prediction": int(scores.argmax()) if scores is not None else None,
        "median_ms": engine.measurements[0].compute.median_ms if engine.measurements else None,
    }


def _scores(path: Path, toolchain: str, image: NDArray[Any]) -> NDArray[Any] | None:
    """The engine's scores, where this interpreter itself has the toolchain."""
    from workers.toolchains import load_toolchain

    try:
        engine = load_toolchain(toolchain).load(path)
    except (ImportError, FarmError):
        return None
    try:
        return engine.infer({"image": image})["scores"]
    finally:
        engine.close()


def _picture(image: NDArray[Any]) -> list[str]:
    """Eight lines of eight grey blocks, each two characters wide."""
    shades = " ░▒▓█"
    return ["".join(2 * shades[min(int(value * 5), 4)] for value in row) for row in image]


def _bring_up(settings: Settings) -> None:
    """Moves the demo's own farm to this release: nobody else uses it, and a second demo must work after an upgrade."""
    from farm.bootstrap import open_database
    from farm.storage.schema import is_blank, upgrade

    path = settings.sqlite_path
    if path is None or not path.exists():
        return
    with closing(open_database(settings)) as database:
        if not is_blank(database):
            upgrade(database)


def _tell(path: Path, used: dict[str, object], home: Path) -> None:
    show_line(f"\nFetched for this machine: {path} ({used['toolchain']}, {used['precision']})")
    picture = used["picture"]
    assert isinstance(picture, list)  # noqa: S101 - made above
    for position, line in enumerate(picture):
        beside = {
            2: f"    the engine says {used['prediction']}",
            3: f"    the label says  {used['label']}",
            4: f"    in {ms(used['median_ms'])} ms",  # type: ignore[arg-type]
        }
        show_line(f"    {line}{beside.get(position, '')}")
    show_line("\nNext:")
    place = shlex.quote(str(home))
    show_line(f"    farm --home {place} engines digits             # the table again, or --json")
    show_line(f"    farm --home {place} history digits --tainted   # every measurement in time")
    show_line("    farm submit YOUR.onnx --batch 1,8,32 --local     # the same with a model of your own")
