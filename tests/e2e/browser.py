"""A real browser without a screen: what a page becomes in it, and what that looks like."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from tests.server_programs import missing

if TYPE_CHECKING:
    from pathlib import Path

#: It looks nothing up, asks nobody and keeps nothing.
_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
    # What scripts complain of is told on standard error.
    "--enable-logging=stderr",
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"


class Browser:
    """Chromium, started anew for every page.

    Args:
        folder: for what it writes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = shutil.which("chromium") or shutil.which("chromium-browser") or ""
        if not self._program:
            missing("no chromium on this machine: apt-get install chromium")

    def picture(self, page: Path, width: int, height: int, *options: str) -> Path:
        """What the page looks like, as a PNG."""
        path = self._folder / f"{page.stem}-{width}-{len(list(self._folder.iterdir()))}.png"
        self._run(page, width, height, f"--screenshot={path}", *options)
        return path

    def answer(self, page: Path, script: str, width: int = 1400, *options: str) -> Any:
        """What the body of a function gives that is called in the page once it is there, as JSON."""
        asking = self._folder / f"asking-{page.name}"
        call = f"document.body.dataset.answer = JSON.stringify((() => {{ {script} }})());"
        text = page.read_text(encoding="utf-8").replace("</body>", f"<script>{call}</script></body>")
        asking.write_text(text, encoding="utf-8")
        dom = self._run(asking, width, 1200, "--dump-dom", *options)
        found = re.search(r'<body[^>]* data-answer="([^"]*)"', dom)
        assert found, dom[:2000]
        return json.loads(html.unescape(found[1]))

    def _run(self, page: Path, width: int, height: int, *options: str) -> str:
        profile = self._folder / f"profile-{len(list(self._folder.iterdir()))}"
        command = [
            self._program, *_QUIET, f"--user-data-dir={profile}", f"--window-size={width},{height}", *options, page.as_uri()
        ]  # fmt: skip
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert ended.returncode == 0, ended.stderr
        assert "CONSOLE" not in ended.stderr, ended.stderr
        shutil.rmtree(profile, ignore_errors=True)
        return ended.stdout
