"""A TCP proxy that can turn into a black hole: connections stay open, and bytes are dropped."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import Self

_LOOK_SECONDS = 0.02
_CHUNK_BYTES = 65_536
_CONNECT_SECONDS = 5.0


class BlackHoleProxy:
    """Forwards to a port on loopback, in a thread of its own, while the block lasts.

    Nothing ever says that a connection is dead: no RST, no FIN, as with a firewall that forgot it.

    Args:
        port: where it forwards to.

    Attributes:
        port: where it listens.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._dropping: set[socket.socket] = set()
        self._swallows_new = False
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        for end in (*self._peers, self._listener):
            end.close()
        self._selector.close()

    def open_hole(self, *, for_new: bool = True) -> None:
        """Drop whatever comes, on every connection there is, and on new ones too if asked."""
        with self._lock:
            self._dropping |= set(self._peers)
            self._swallows_new = for_new

    def close_hole(self) -> None:
        """Let new connections through again; those that fell into the hole stay in it."""
        with self._lock:
            self._swallows_new = False

    def _run(self) -> None:
        while not self._end.is_set():
            for key, _ in self._selector.select(_LOOK_SECONDS):
                with self._lock:
                    end = key.fileobj
                    assert isinstance(end, socket.socket)
                    if end is self._listener:
                        self._accept()
                    else:
                        self._forward(end)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._target, _CONNECT_SECONDS)
        except OSError:
            client.close()
            return
        for end, peer in ((client, server), (server, client)):
            self._peers[end] = peer
            self._selector.register(end, selectors.EVENT_READ)
        if self._swallows_new:
            self._dropping |= {client, server}

    def _forward(self, end: socket.socket) -> None:
        if end not in self._peers:
            return  # its peer has closed in this very round
        try:
            data = end.recv(_CHUNK_BYTES)
        except OSError:
            data = b""
        if not data:
            self._close(end)
        elif end not in self._dropping:
            with contextlib.suppress(OSError):
                self._peers[end].sendall(data)

    def _close(self, end: socket.socket) -> None:
        for both in (end, self._peers[end]):
            self._selector.unregister(both)
            self._peers.pop(both, None)
            self._dropping.discard(both)
            both.close()
