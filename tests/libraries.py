"""Tiny shared libraries, built by the C compiler of this machine."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_GCC = shutil.which("gcc")
NEEDS_COMPILER = pytest.mark.skipif(_GCC is None, reason="no gcc on this machine")

#: Loads, and registers nothing.
HARMLESS = "int answer(void) { return 42; }"
#: Lacks what it calls.
UNRESOLVED = "extern int nowhere_to_be_found(void); int answer(void) { return nowhere_to_be_found(); }"
#: Ends the process that loads it.
DEADLY = "#include <stdlib.h>\n__attribute__((constructor)) static void go(void) { abort(); }"
#: Exports what TensorRT asks for plugins with, and has none.
EMPTY = """
#include <stdint.h>
void *const *getCreators(int32_t *count) { *count = 0; return 0; }
void *const *getPluginCreators(int32_t *count) { *count = 0; return 0; }
void setLoggerFinder(void *finder) { (void)finder; }
"""


def library(path: Path, source: str) -> Path:
    """Compiles a source to a shared library."""
    text = path.with_suffix(".c")
    text.write_text(source)
    words = [str(_GCC), "-shared", "-fPIC", "-o", str(path), str(text)]
    subprocess.run(words, check=True, capture_output=True)
    return path
