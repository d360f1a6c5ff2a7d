"""The `farm` command: finds the command's module when it is called, and turns errors into exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from farm.domain.errors import FarmError
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

# Name, module, and the line in `farm --help`: importing every command to list it would make help slow.
COMMANDS = {
    "demo": ("cli.demo", "Build, verify and time a small model here; a tour in under a minute."),
    "inspect": (
        "cli.inspect",
        "Show what a model or an engine is: operators, layers, precisions, formats, memory.",
    ),
    "diff": ("cli.diff", "Show what differs between two engines, in their keys and in their layers."),
    "accuracy": (
        "cli.accuracy",
        "Show an engine's accuracy, output by output, and how its errors are spread.",
    ),
    "profile": ("cli.profile", "Show where an engine's time goes, layer by layer."),
    "up": ("cli.worker", "Run an embedded farm with a worker for this machine's devices."),
    "worker": ("cli.worker", "Run a worker of a fleet on this machine."),
    "export": ("cli.export", "Export a PyTorch model to ONNX, and compare the two."),
    "submit": ("cli.submit", "Submit a model to be built for a fleet of targets."),
    "tune": ("cli.tune", "Find the fastest engine that is accurate enough."),
    "status": ("cli.status", "Show submissions and their jobs."),
    "watch": ("cli.status", "Follow a submission until it is done."),
    "logs": ("cli.jobs", "Show or follow the log of a job."),
    "cancel": ("cli.jobs", "Stop a job, or what only this submission wants."),
    "retry": ("cli.jobs", "Queue a failed or cancelled job again, or all that failed of a submission."),
    "engines": ("cli.engines", "List filed engines with their figures."),
    "models": ("cli.engines", "List models and the versions of their names."),
    "fetch": ("cli.fetch", "Get the engine that fits this machine, or another."),
    "verify": ("cli.verify", "Check an engine's file against its signed manifest."),
    "compare": ("cli.compare", "Show how many times faster engines are than baselines."),
    "benchmark": ("cli.benchmark", "Measure filed engines again, or hold one against another."),
    "history": ("cli.history", "Show a model's measurements in time."),
    "report": ("cli.report", "Compare engines and baselines of models, as tables, charts or a page."),
    "devices": ("cli.fleet", "List device types that engines can be built for."),
    "canary": ("cli.canary", "Show whether devices are what they were."),
    "toolchains": ("cli.fleet", "List toolchains, their precisions and builder options."),
    "workers": ("cli.workers", "List workers: live, draining and lost."),
    "queue": ("cli.queue", "Show what waits for each target, and why a job waits."),
    "gc": ("cli.gc", "Remove what nothing refers to, and engines that are given up."),
    "pin": ("cli.gc", "Keep an engine, whatever its age."),
    "unpin": ("cli.gc", "Let a pinned engine go when its time comes."),
    "failures": ("cli.failures", "Show failed attempts by what they have in common."),
    "caches": ("cli.caches", "Show the caches that builds are lent."),
    "metrics": ("cli.metrics", "Serve figures for Prometheus."),
    "sweep": ("cli.sweep", "Run a fleet's sweeper without a device."),
    "doctor": ("cli.doctor", "Check what works here, what does not, and what to do about it."),
    "keys": ("cli.keys", "Make, list, trust and revoke the keys that sign engines."),
    "db": ("cli.db", "Upgrade the database's schema, or show its version."),
    "completion": ("cli.completion", "Print the script that completes `farm` in your shell."),
}


class LazyGroup(click.Group):
    """A group whose commands live in modules that are imported when they are called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """All names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, with its module imported."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name][0]), cmd_name)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a mistyped name."""
        name = args[0] if args else ""
        if name and name not in COMMANDS and not name.startswith("-"):
            ctx.fail(f"there is no command {name!r}. {did_you_mean(name, COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from farm import __version__

        click.echo(f"farm {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the embedded farm. [default: FARM_HOME, else ~/.local/share/engine-farm]",
)
@click.option("--debug", is_flag=True, help="Show the stack trace of an error.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
@click.pass_context
def farm(ctx: click.Context, home: Path | None, debug: bool) -> None:
    """A build farm for TensorRT engines.

    Submit an ONNX model once; every GPU type in the fleet builds its own engine, proves that it still
    computes the right answer, and times it. Then fetch the engine that fits the machine you sit at.

    \b
    farm demo                                      a tour in under a minute
    farm submit model.onnx --name resnet50 --batch 1,8,32 --local
    farm fetch resnet50 -o resnet50.engine
    """
    ctx.obj = {"home": home, "debug": debug}


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: exits with the code of the error's class."""
    try:
        status = farm.main(
            args=None if arguments is None else list(arguments), prog_name="farm", standalone_mode=False
        )
    except FarmError as error:
        if "--debug" in (sys.argv if arguments is None else arguments):
            raise
        from cli.render import show_error

        show_error(error, as_json="--json" in (sys.argv if arguments is None else arguments))
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # `farm engines | head`: nobody reads on, and Python must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if "--debug" in (sys.argv if arguments is None else arguments):
            raise
        _tell_of_bug(error)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)


def _tell_of_bug(error: Exception) -> None:
    """One line for the person, the stack trace in a file for whoever mends it."""
    import tempfile
    import traceback

    from farm.credentials import redacted

    words = redacted(" ".join(str(error).split()))
    click.echo(f"{click.style('error:', fg='red', bold=True)} {type(error).__name__}: {words}", err=True)
    with tempfile.NamedTemporaryFile("w", prefix="farm-", suffix=".trace", delete=False) as file:
        file.write(redacted("".join(traceback.format_exception(error))))
    click.echo(
        f"{click.style('hint:', fg='cyan')}  This is a bug of the farm, please report it: the stack trace is in {file.name}",
        err=True,
    )


if __name__ == "__main__":
    main()
