"""Which engine a user means: by its number, by first digits of a digest, by a job, or by a model's name and a target."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cli.filters import read_filter
from cli.render import size
from farm.domain.errors import InvalidRequestError, NoEngineFitsError, NotFoundError
from farm.services.model_names import model_label, newest_names
from farm.services.targets import slugs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from farm.domain.filing import Engine
    from farm.domain.targets import DeviceType
    from farm.services.ports import Transaction

#: So many engines are named where several fit.
_MOST_SHOWN = 8


@dataclass(frozen=True)
class NamedEngine:
    """An engine, with what people call its model and its device type."""

    engine: Engine
    model: str
    slug: str

    @property
    def title(self) -> str:
        """In a line."""
        spec = self.engine.spec
        return f"engine {self.engine.id}: {self.model} · {self.slug} · {spec.target.toolchain} · {spec.precision}"


def target_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--gpu`, `--toolchain`, `--precision`: of which target, where a model is named."""
    for option in (
        click.option("--precision", help="Of a model's engines the one of this precision."),
        click.option("--toolchain", help="Of this toolchain: tensorrt, tensorrt@8.6, …"),
        click.option("--gpu", help="For this device type: h200, cpu, …"),
    ):
        command = option(command)
    return command


def find_engine(
    transaction: Transaction,
    word: str,
    gpu: str | None = None,
    toolchain: str | None = None,
    precision: str | None = None,
) -> NamedEngine:
    """The one engine that is meant.

    Raises:
        NotFoundError: nothing of that name is filed, or no engine for that target.
        InvalidRequestError: several are meant; the message lists them.
    """
    slugs = slugs_of(transaction)
    return _only(*_meant(transaction, word, gpu, toolchain, precision), slugs)


def find_engines(
    transaction: Transaction,
    word: str,
    gpu: str | None = None,
    toolchain: str | None = None,
    precision: str | None = None,
) -> list[NamedEngine]:
    """Every engine that is meant: the one of a number, a digest or a job, or those of a model that pass.

    Raises:
        NotFoundError: nothing of that name is filed, or no engine for that target.
    """
    slugs = slugs_of(transaction)
    label, known, fitting = _meant(transaction, word, gpu, toolchain, precision)
    if not fitting:
        _only(label, known, fitting, slugs)
    return [NamedEngine(engine, label, slugs[engine.spec.target.device_type]) for engine in fitting]


def _meant(
    transaction: Transaction, word: str, gpu: str | None, toolchain: str | None, precision: str | None
) -> tuple[str, Sequence[Engine], Sequence[Engine]]:
    """What the model is called, all its engines, and those that are meant."""
    if word.startswith("j-"):
        return _alone(transaction, _of_job(transaction, word))
    if re.fullmatch(r"\d{1,9}|[0-9a-fA-F]{8,64}", word):
        try:
            return _alone(transaction, transaction.engines.get(transaction.garbage.engine_id(word)))
        except NotFoundError:
            # A model may be called so, or its digest be meant.
            if word.isdecimal() and not any(name.name == word for name in transaction.models.names()):
                raise
    try:
        name = transaction.models.named(word)
    except NotFoundError as error:
        raise NotFoundError(f"no engine, job or model {word!r} is filed", hint=error.hint) from error
    wanted = read_filter(transaction, gpu, toolchain, precision)
    known = transaction.engines.engines(model_sha256=name.model_sha256)
    return str(name), known, [e for e in known if wanted.passes(e)]


def _of_job(transaction: Transaction, word: str) -> Engine:
    job = transaction.jobs.get(word)
    engine = transaction.engines.find(job.spec)
    if engine is None:
        raise NotFoundError(
            f"job {job.id} is {job.state.value.lower()} and has filed no engine",
            hint=f"`farm logs {job.id}` shows what it does or did.",
        )
    return engine


def _only(
    label: str, known: Sequence[Engine], fitting: Sequence[Engine], slugs: Mapping[DeviceType, str]
) -> NamedEngine:
    named = [NamedEngine(engine, label, slugs[engine.spec.target.device_type]) for engine in fitting]
    if len(named) == 1:
        return named[0]
    if not named:
        there = [NamedEngine(engine, label, slugs[engine.spec.target.device_type]) for engine in known]
        what = f"; there are: {_listed(there)}" if there else ""
        raise NoEngineFitsError(
            f"no engine of {label} fits{what}" if there else f"no engine of {label} is built yet",
            hint="" if there else "`farm submit` builds one.",
        )
    raise InvalidRequestError(
        f"{len(named)} engines of {label} are meant: {_listed(named)}",
        hint="Name one by its number, or say more with --gpu, --toolchain and --precision.",
    )


def _listed(engines: Sequence[NamedEngine]) -> str:
    lines = [
        f"{named.engine.id} ({named.slug} · {named.engine.spec.target.toolchain} · {named.engine.spec.precision} · "
        f"{size(named.engine.digest.size_bytes)})"
        for named in engines[:_MOST_SHOWN]
    ]
    more = [f"and {len(engines) - _MOST_SHOWN} more"] if len(engines) > _MOST_SHOWN else []
    return ", ".join([*lines, *more])


def _alone(transaction: Transaction, engine: Engine) -> tuple[str, Sequence[Engine], Sequence[Engine]]:
    return model_label(newest_names(transaction), engine.spec.model_sha256), [engine], [engine]
