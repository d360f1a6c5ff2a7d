"""JSON as programs write it that were not made by people who read the standard.

TensorRT's inspector puts node names and separators into texts as they are. What can be read is read; what is beyond
repair is left out, and the reader is told.
"""

from __future__ import annotations

import json
import re
from typing import Any, List, Tuple

# Control characters within texts are let through.
_DECODER = json.JSONDecoder(strict=False)
_PIECES = re.compile(r'"(?:[^"\\]|\\.)*"|[^"]+|"', re.DOTALL)
_BAD_ESCAPE = re.compile(r'\\(?!["\\/bfnrt]|u[0-9a-fA-F]{4})')
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_NO_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:nan(?:\([^)]*\))?|inf(?:inity)?)(?![\w.])", re.IGNORECASE)


def read_lenient(text: str) -> Any:
    """The value of a document; control characters, bad escapes, trailing commas and `nan` do not matter.

    Raises:
        ValueError: it is no JSON even so.
    """
    try:
        return _DECODER.decode(text.strip().lstrip("\ufeff"))
    except ValueError:
        return _DECODER.decode(_repaired(text.strip().lstrip("\ufeff")))


def read_list(text: str, name: str) -> Tuple[List[Any], bool]:
    """The items of a list within a document that may be broken or cut off.

    Returns:
        As many items as can be read from the list's beginning on, and whether that was all of them.
    """
    text = _repaired(text)
    begin = re.search(rf'"{re.escape(name)}"\s*:\s*\[', text)
    if begin is None:
        return [], False
    items: List[Any] = []
    position = begin.end()
    while True:
        position = _skip(text, position)
        if text[position : position + 1] == "]":
            return items, True
        try:
            item, position = _DECODER.raw_decode(text, position)
        except ValueError:
            return items, False
        items.append(item)


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n,":
        position += 1
    return position


def _repaired(text: str) -> str:
    pieces = []
    for piece in _PIECES.findall(text):
        if piece.startswith('"'):
            pieces.append(_BAD_ESCAPE.sub(r"\\\\", piece))
        else:
            pieces.append(_NO_NUMBER.sub("null", _TRAILING_COMMA.sub(r"\1", piece)))
    return "".join(pieces)
