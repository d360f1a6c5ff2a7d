"""What errors of other libraries say, in the farm's own messages."""

from __future__ import annotations


def one_line(error: BaseException, most: int | None = None) -> str:
    """All that an error says, on one line; its class where it says nothing.

    Args:
        error: of any library.
        most: so many characters at the most; none for all.
    """
    return " ".join(str(error).split())[:most] or type(error).__name__


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def why_unreadable(error: BaseException) -> str:
    """Why a file can not be read: the system's word, else what its reader says, on one line."""
    return error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
