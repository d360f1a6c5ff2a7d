"""`farm submit`: the matrix of (target x precision), what is there already, and the rest queued."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from cli.baseline_options import baseline_option
from cli.context import CommaSeparated, Pairs, json_option
from cli.limits import limit_options
from cli.networks import network_options
from cli.render import show_json, show_note
from cli.sample_options import calibration_options, measuring_options, sample_options
from cli.shape_options import shape_options
from cli.sources import source_options
from cli.submission import announce, file_submission, options_as_wish, prepare
from cli.submission_view import show_filed, show_plan, warn_without_worker
from cli.target_options import toolchain_option
from cli.verification_options import verification_options
from farm.domain.precisions import PRECISIONS


@click.command(short_help="Submit a model to be built for a fleet of targets.")
@click.argument("model", required=False, type=click.Path(path_type=Path))
@network_options
@source_options
@click.option("--name", help="What the model is called from now on. [default: after its file]")
@click.option(
    "--spec", type=click.Path(path_type=Path), help="Read everything from a YAML file; options win over it."
)
@click.option(
    "--trtexec",
    help='A line for trtexec, such as "--onnx=m.onnx --fp16 --minShapes=…"; options win over it. Flags that the '
    "farm can not honour are refused, all at once.",
)
@click.option("--save-spec", type=click.Path(path_type=Path), help="Write the same request to a YAML file.")
@click.option(
    "--gpu",
    "gpus",
    multiple=True,
    type=CommaSeparated(),
    help="h200, l4, sm89, cpu, all; repeatable. [default: all known]",
)
@toolchain_option
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=CommaSeparated(),
    help=f"{', '.join(PRECISIONS)}. [default: fp32]",
)
@shape_options
@click.option(
    "--batch",
    "batches",
    multiple=True,
    type=CommaSeparated(),
    help="Batch sizes to measure; without shapes they make the profile.",
)
@baseline_option
@click.option(
    "--keep-fp32",
    "keep_fp32",
    multiple=True,
    type=CommaSeparated(),
    help="Nodes of the model that stay in FP32 whatever the precision, by name; `farm tune` finds which are worth it.",
)
@click.option(
    "--set",
    "options",
    multiple=True,
    type=Pairs(),
    help="A builder option, such as builder_optimization_level=4, or tensorrt:… for one toolchain.",
)
@click.option(
    "--inputs",
    type=click.Path(path_type=Path),
    help="Sample inputs (a folder or list of images or arrays; .npz, an array per input; `labels` for top-1, `outputs/NAME` for what the engine is to "
    "compute). [default: seeded random]",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    type=Pairs(),
    help="What the accuracy must reach: min_cosine=0.999, min_snr_db=40, max_abs_error, max_rel_error, min_psnr_db, "
    "min_top1_agreement, min_dice, min_iou, min_exact_match, min_label_top1 and more.",
)
@click.option("--tag", "tags", multiple=True, type=Pairs(), help="A word of your own: team=vision.")
@calibration_options
@sample_options
@measuring_options
@verification_options
@click.option("--salt", help="Any text: another one builds the same cells anew.")
@click.option(
    "--rebuild",
    is_flag=True,
    help="Build filed engines anew: the new one takes the old one's place once it is verified.",
)
@click.option(
    "--builds",
    type=int,
    help="Build every cell so often, keep the fastest engine that verifies. [default: 1]",
)
@click.option(
    "--keep", type=click.Choice(["fastest"]), default="fastest", help="Which of several builds is kept."
)
@click.option(
    "--refit",
    is_flag=True,
    help="Where only weights changed, offer a filed engine with the new ones (seconds), and build behind it.",
)
@limit_options
@click.option(
    "--skip-unsupported",
    is_flag=True,
    help="Leave out cells that a toolchain can not do, instead of refusing.",
)
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option("--wait", is_flag=True, help="Follow until everything is done.")
@click.option("--local", is_flag=True, help="Run a worker in this process until everything is done.")
@json_option
@click.pass_context
def submit(ctx: click.Context, /, **given: Any) -> None:
    """Submit MODEL to be built, verified and timed for every target and precision asked for.

    Says at once which cells are built already, which share a running job, and which no live worker can
    serve yet. What was acknowledged is never lost: Ctrl-C while waiting leaves the work running.

    \b
    farm submit resnet50.onnx --gpu h200 --gpu cpu --precision fp32,fp16 --batch 1,8,32 --wait
    farm submit model.onnx --min-shapes x:1x3x224x224 --opt-shapes x:8x3x224x224 --max-shapes x:32x3x224x224
    farm submit --spec build.yaml --local
    farm submit --gpu h200 --trtexec "--onnx=m.onnx --fp16 --shapes=x:8x3x224x224 --builderOptimizationLevel=4"
    farm submit lenet.py:build --weights lenet.npz --input data:Nx1x28x28 --batch 1,8 --toolchain tensorrt
    farm submit resnet50.onnx --gpu h200 --precision fp16 --batch 1,8 --builds 3 --keep fastest
    farm submit nets:resnet --input 1x3x224x224 --dynamic batch --gpu h200 --baseline torch,torch-amp,torch-compile
    """
    from cli.build_request import Wish
    from cli.spec_files import read_wish, write_wish
    from cli.trtexec_wish import hints_for_trtexec, with_trtexec

    wish, options = read_wish(given["spec"]) if given["spec"] else Wish(), options_as_wish(given)
    if given["trtexec"] is None:
        wish = wish.overridden_by(options)
    else:
        wish = with_trtexec(ctx, wish, given["trtexec"], options)
    if given["save_spec"]:
        write_wish(wish, given["save_spec"])
        show_note(f"spec written to {given['save_spec']}")
    as_json = given["as_json"]
    with nullcontext() if given["trtexec"] is None else hints_for_trtexec(wish):
        request = prepare(ctx, wish, skip_unsupported=given["skip_unsupported"])
    if given["dry_run"]:
        show_plan(request, as_json=as_json)
        return
    waits = given["local"] or given["wait"]
    submission = file_submission(request, as_json=as_json)
    if not as_json:
        show_filed(request, submission, local=given["local"])
    announce(request.farm)
    if as_json and not waits:
        # Who waits gets one document, at the end.
        from cli.tables import progress_as_json
        from farm.services.progress import submission_progress

        with request.farm.database.reading() as transaction:
            show_json(progress_as_json(submission_progress(transaction, submission.id)))
    if waits:
        from cli.waiting import wait_for

        ctx.exit(wait_for(request.farm, submission, local=given["local"], as_json=as_json))
    elif not as_json:
        warn_without_worker(request, submission)
