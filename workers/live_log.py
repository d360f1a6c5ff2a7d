"""The new end of a growing log, in pieces fit for SQL."""

from __future__ import annotations

import codecs
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: What of a log is shown live; the whole is kept as an artifact at the end.
LIVE_BYTES = 1 << 20
_GAP_S = 0.5


class LiveLog:
    """Reads what was added since the last time, at most twice a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._last = 0.0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def new_text(self) -> str:
        """The text that was added, or nothing if it is too early to look again."""
        now = time.monotonic()
        if now - self._last < _GAP_S or self._offset >= LIVE_BYTES:
            return ""
        self._last = now
        with self._path.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read(64 << 10)
        self._offset += len(data)
        text = self._decoder.decode(data)
        if self._offset >= LIVE_BYTES:
            text += "\n[farm] the live log ends here; the whole is kept when the attempt ends\n"
        return text
