"""How engines are timed, as `farm submit`, `farm tune` and `farm benchmark` are told it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.context import CommaSeparated, flattened
from farm.domain.errors import InvalidSpecError
from farm.domain.methods import METHOD_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cli.build_request import Wish
    from farm.domain.benchmarks import BenchmarkSpec

Command = TypeVar("Command", bound="Callable[..., Any]")

_OPTIONS = (
    click.option(
        "--method",
        help=f"{', '.join(METHOD_WORDS)}: by whose defaults, or by which one method. [default: farm, which times plain "
        "launches and a CUDA graph, each with and without transfers]",
    ),
    click.option(
        "--streams",
        multiple=True,
        type=CommaSeparated(),
        help="How many inferences at once; each is measured: 1,2,4,8. [default: 1]",
    ),
    click.option(
        "--flush-l2",
        is_flag=True,
        help="Empty the GPU's L2 cache before each iteration; such figures are filed apart.",
    ),
    click.option(
        "--warmup-ms", type=int, help="How long to run before counting, at the least. [default: 200]"
    ),
    click.option(
        "--duration-ms", type=int, help="How long to count for each figure, at the least. [default: 250]"
    ),
    click.option(
        "--max-duration-ms",
        type=int,
        help="How long to count while the interval is too wide. [default: ten times --duration-ms]",
    ),
    click.option(
        "--interval-percent",
        type=float,
        help="How near to the median both ends of its 95 % confidence interval must be, in percent of it; 100 for any. "
        "[default: 0.5, on a CPU 2]",
    ),
)
#: Their raw times are kept, 24 bytes for each.
_MOST_ITERATIONS = 2_000_000
_WORDS = ("method", "warmup_ms", "duration_ms", "max_duration_ms", "interval_percent")
#: Keys of a spec file that are no list.
BENCHMARK_WORDS = (*_WORDS, "flush_l2", "min_iterations")
#: And the one that is.
STREAMS = "streams"


def benchmark_options(command: Command) -> Command:
    """Gives a command the options that say how an engine is timed."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def benchmark_as_wish(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options under the names of a spec file.

    Args:
        given: the options of a command line, or what answers none for those that it does not have.
    """
    return {
        **{name: given[name] for name in _WORDS},
        "flush_l2": given["flush_l2"] or None,
        STREAMS: flattened(given[STREAMS] or ()),
    }


def benchmark_of(wish: Wish) -> BenchmarkSpec:
    """How the engines of a wish are timed, but for the batch sizes.

    Raises:
        InvalidSpecError: a number is none, there is no such method, or it makes no sense.
    """
    from cli.build_request import whole_number
    from farm.domain.benchmarks import BenchmarkSpec

    usual, values = BenchmarkSpec(), wish.values
    iterations = wish.number("min_iterations", usual.min_iterations)
    # Who says how long or how surely to measure means it, however short an iteration is.
    is_long = any(name in values for name in ("duration_ms", "max_duration_ms", "interval_percent"))
    return BenchmarkSpec(
        warmup_ms=wish.number("warmup_ms", usual.warmup_ms),
        duration_ms=wish.number("duration_ms", usual.duration_ms),
        min_iterations=iterations,
        max_iterations=max(iterations, _MOST_ITERATIONS if is_long else usual.max_iterations),
        method=str(values.get("method", usual.method)),
        streams=tuple(whole_number(count, STREAMS) for count in values.get(STREAMS, ())) or usual.streams,
        flush_l2=_switch(values.get("flush_l2", False)),
        precision_percent=_share(values["interval_percent"]) if "interval_percent" in values else None,
        max_duration_ms=wish.number("max_duration_ms", usual.max_duration_ms),
    )


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidSpecError(f"flush_l2 must be true or false, not {value!r}")


def _share(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InvalidSpecError(f"interval_percent must be a number, not {value!r}") from None
