"""A TCP proxy that drops, delays, cuts and half-closes what goes through it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Self

_CHUNK = 64 << 10
_POLL_S = 0.05


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

    def __enter__(self) -> Self:
        """Lets through."""
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends every connection."""
        self._closed = True
        self._listener.close()
        self.reset()

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
                    # A thread that waits in it would keep it open.
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
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), name="pump", daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if self.delay_s:
                    time.sleep(self.delay_s)
                if self.swallows:
                    continue
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
        with self._guard:
            self._pairs = [pair for pair in self._pairs if source not in pair or sink not in pair]
