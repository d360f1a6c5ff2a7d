"""What long-running commands say: to people, to programs, or into the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cli.render import show_json_line, show_note
from farm.logs import configure_logging

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm.settings import Settings

_log = logging.getLogger(__name__)


def teller(settings: Settings, *, as_json: bool = False) -> Callable[[str], None]:
    """Says what happens: a line for people, a JSON document a line for programs, or a line of the log."""
    configure_logging(settings)
    if as_json:
        return lambda text: show_json_line({"message": text})
    # Whoever collects logs as JSON reads nothing else from standard error.
    return _log.info if settings.log_format == "json" else show_note
