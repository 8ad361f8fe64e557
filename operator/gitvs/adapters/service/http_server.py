"""A small HTTP server in threads of its own, for clients that nobody has to trust.

It has few connections at a time and one deadline for each, however slowly its client sends or
receives. The handler decides what to answer.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from socketserver import BaseRequestHandler, BaseServer, TCPServer
from threading import Lock, Thread
from typing import Any

from gitvs.core.errors import CannotListen
from gitvs.core.planning.kernel_refusals import errno_name
from gitvs.core.settings import listen_address

MAX_CONNECTIONS = 16
REQUEST_SECONDS = 10.0
"""Longest time of one request in all, with its answer."""

_POLL_SECONDS = 0.1
"""How often the server looks for connections that take too long, and whether to stop."""

MakeHandler = Callable[[Any, Any, Any], BaseRequestHandler]


class HttpListener:
    """Serves HTTP on one address, from its creation until `stop`."""

    def __init__(self, setting: str, listen: str, handler: MakeHandler) -> None:
        """Bind and start; `setting` names the setting `listen`, such as `metrics.listen`.

        Raises:
            CannotListen: the address cannot be used, or there can be no further thread.
        """
        try:
            self._server = HttpServer(listen_address(listen), handler)
        except OSError as error:
            raise _listen_error(setting, listen, error) from error
        self._thread = Thread(
            target=self._server.serve_forever,
            args=(_POLL_SECONDS,),
            name=setting.partition(".")[0],
            daemon=True,
        )
        try:
            self._thread.start()
        except RuntimeError as error:
            self._server.server_close()
            raise CannotListen(f"{setting}: nothing listens on {listen}: {error}") from error

    @property
    def address(self) -> str:
        """Where it listens, as `127.0.0.1:9712`."""
        return self._server.address_text

    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop serving; open connections are closed."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass(slots=True)
class _Connection:
    deadline_monotonic: float
    is_request_received: bool = False


class _Connections:
    """The open connections: a bounded number, each for a bounded time.

    A client that has not sent its request yet makes room for a new one, so clients that send
    slowly or nothing keep nobody else away.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._connections: dict[socket.socket, _Connection] = {}  # the oldest first

    def admit(self, client: socket.socket) -> bool:
        """Add a connection; False if there is no room."""
        with self._lock:
            if len(self._connections) >= MAX_CONNECTIONS and not self._cut_off_slow_sender():
                return False
            self._connections[client] = _Connection(time.monotonic() + REQUEST_SECONDS)
            return True

    def mark_received(self, client: socket.socket) -> bool:
        """Record that the request is complete; False if the connection was cut off."""
        with self._lock:
            connection = self._connections.get(client)
            if connection is not None:
                connection.is_request_received = True
            return connection is not None

    def remove(self, client: socket.socket) -> None:
        """Remove a connection before it is closed."""
        with self._lock:
            self._connections.pop(client, None)

    def cut_off_late(self, now_monotonic: float) -> None:
        """Cut off the connections whose deadline has passed."""
        with self._lock:
            for client, connection in list(self._connections.items()):
                if connection.deadline_monotonic <= now_monotonic:
                    self._cut_off(client)

    def _cut_off_slow_sender(self) -> bool:
        for client, connection in self._connections.items():
            if not connection.is_request_received:
                self._cut_off(client)
                return True
        return False

    def _cut_off(self, client: socket.socket) -> None:
        """End a connection; its thread notices, and closes it."""
        del self._connections[client]
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


class HttpServer(ThreadingHTTPServer):
    """The server of an `HttpListener`; handlers tell `connections` when a request is complete."""

    request_queue_size = 128  # connections that wait to be accepted; beyond, clients wait seconds

    def __init__(self, address: tuple[str, int], handler: MakeHandler) -> None:
        self.connections = _Connections()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    @property
    def address_text(self) -> str:
        """Where it listens, as `[::1]:9712`."""
        host, port = self.server_address[:2]
        return f"[{host!s}]:{port}" if ":" in str(host) else f"{host!s}:{port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or close: clients must not use up all threads of the agent."""
        if self.connections.admit(request):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self.connections.remove(request)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Cut off slow clients; called several times a second."""
        self.connections.cut_off_late(time.monotonic())

    def server_close(self) -> None:
        """Close the server, and its connections with it."""
        super().server_close()
        self.connections.cut_off_late(float("inf"))

    def server_bind(self) -> None:
        """Bind without the DNS lookup of the parent class: the DNS may be down."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect; any other error is a bug and is shown."""
        if not isinstance(sys.exception(), OSError):
            BaseServer.handle_error(self, request, client_address)


def _listen_error(setting: str, listen: str, error: OSError) -> CannotListen:
    code = error.errno or 0
    return CannotListen(
        f"{setting}: cannot listen on {listen}: {os.strerror(code)} ({errno_name(code)});"
        ' choose another address or another port from 1024 on, or "" for none'
    )
