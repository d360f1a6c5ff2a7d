"""A TCP proxy that drops, delays, cuts and half-closes what goes through it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 64 << 10
#: For the threads of connections that were cut.
_JOIN_S = 5.0


class Proxy:
    """Between clients and one server; a context manager.

    Args:
        port: of the server, on 127.0.0.1.
        host: the address that it listens on.
    """

    def __init__(self, port: int, *, host: str = "127.0.0.1") -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server((host, 0))
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        #: Seconds that every piece waits.
        self.delay_s = 0.0
        #: Whether bytes vanish, and connections stay open: as by a firewall.
        self.swallows = False
        #: Whether nobody gets in.
        self.refuses = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._guard = threading.Lock()
        self._closed = False
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Lets through."""
        self._run(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends every connection."""
        self._closed = True
        # Wakes whoever waits for the next client.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()
        for thread in list(self._threads):
            thread.join(_JOIN_S)

    def url(self, original: str) -> str:
        """The URL of the server by way of this proxy."""
        return original.replace(f"127.0.0.1:{self._target[1]}", f"{self.host}:{self.port}")

    def reset(self) -> int:
        """Cuts every connection by a reset; how many there were."""
        with self._guard:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    # Wakes the thread that waits for it, and leaves the last word to the reset.
                    end.shutdown(socket.SHUT_RD)
                    end.close()
        return len(pairs)

    def half_close(self) -> int:
        """Tells every client that the server says nothing more, and goes on taking what clients say."""
        with self._guard:
            pairs = list(self._pairs)
        for client, _ in pairs:
            with suppress(OSError):
                client.shutdown(socket.SHUT_WR)
        return len(pairs)

    def heal(self) -> None:
        """Lets through again; what was half closed or swallowed is cut, as a network's own patience would in the end."""
        self.delay_s, self.swallows, self.refuses = 0.0, False, False
        self.reset()

    def _run(self, what: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=what, args=arguments, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuses:
                client.close()
                continue
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._guard:
                self._pairs.append((client, server))
            ended = threading.Semaphore(0)
            for source, sink in ((client, server), (server, client)):
                self._run(self._pump, source, sink, ended)
            self._run(self._bury, (client, server), ended)

    def _bury(self, pair: tuple[socket.socket, socket.socket], ended: threading.Semaphore) -> None:
        """Closes both ends once nothing more goes either way."""
        for _ in pair:
            ended.acquire()
        with self._guard:
            self._pairs = [other for other in self._pairs if other != pair]
        for end in pair:
            end.close()

    def _pump(self, source: socket.socket, sink: socket.socket, ended: threading.Semaphore) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if self.delay_s:
                    time.sleep(self.delay_s)
                if self.swallows:
                    continue
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        ended.release()
