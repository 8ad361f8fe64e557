"""The control socket: how commands such as `gitvs pause` reach the agent on this host.

It is a Unix socket. Each connection carries one request and one response, each a JSON object on
one line. The socket's owner, group and mode decide who may connect. The agent's own user is
rejected, since Git and ssh run as that user. The meaning of requests is left to the agent.
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitvs.core.errors import (
    AgentNotAnswering,
    AgentUnreachable,
    ControlFailed,
    ExitCode,
    GitvsError,
)

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_SECONDS = 600.0
"""How long a client waits: a pass over a large table, after another, takes minutes at most."""

_REQUEST_TIMEOUT_SECONDS = 5.0
_MAX_REQUEST_BYTES = 64 * 1024
_MAX_CONNECTIONS = 32
_POLL_SECONDS = 0.5
_PEER_CREDENTIALS = struct.Struct("3i")  # Source: unix(7), SO_PEERCRED, struct ucred

RequestJson = Mapping[str, Any]
ResponseJson = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end, as reported by the kernel."""

    pid: int
    uid: int

    @property
    def user_name(self) -> str:
        """The name of its user, or the uid if it has no name."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return f"uid {self.uid}"


def make_socket(path: Path) -> socket.socket:
    """Make a control socket for our own user and root; it replaces a stale one.

    Raises:
        ControlFailed: it cannot be made there.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        previous_umask = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(previous_umask)
        listener.listen()
    except OSError as error:
        listener.close()
        raise ControlFailed(f"control socket {path} cannot be made: {error.strerror}") from error
    return listener


def link_socket(listener: socket.socket, path: Path) -> None:
    """Make a link at `path`, where clients look for the socket, to where systemd has made it."""
    made_at = listener.getsockname()
    if made_at == str(path):
        return
    try:
        path.unlink(missing_ok=True)
        path.symlink_to(made_at)
    except OSError as error:
        log.warning("control socket not linked path=%s reason=%s", path, error.strerror)


class ControlServer:
    """Answers requests, each in a separate thread."""

    def __init__(
        self, listener: socket.socket, handle: Callable[[RequestJson, Peer], ResponseJson]
    ) -> None:
        """`handle` is called from many threads; if it raises `GitvsError`, an error is returned."""
        self._listener = listener
        self._handle = handle
        self._free_connections = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._is_stopping = False
        self._thread = threading.Thread(
            target=self._accept_connections, name="control", daemon=True
        )

    def start(self) -> None:
        """Start to answer requests."""
        self._listener.settimeout(_POLL_SECONDS)
        self._thread.start()

    def stop(self) -> None:
        """Accept no more requests; requests in progress continue."""
        self._is_stopping = True
        self._thread.join()
        self._listener.close()

    def _accept_connections(self) -> None:
        while not self._is_stopping:
            try:
                self._accept_connection()
            except TimeoutError:
                continue
            except Exception as error:  # noqa: BLE001  # no error may end the control socket
                log.warning("control socket reason=%s", error)
                threading.Event().wait(_POLL_SECONDS)

    def _accept_connection(self) -> None:
        """Accept one connection, and serve it in a thread.

        Raises:
            OSError, RuntimeError: no free descriptor, or no thread available: temporary.
        """
        connection, _ = self._listener.accept()
        try:
            self._start_serving(connection)
        except BaseException:
            connection.close()
            raise

    def _start_serving(self, connection: socket.socket) -> None:
        if not self._free_connections.acquire(blocking=False):
            _send_busy_error(connection)
            return
        try:
            threading.Thread(
                target=self._serve_connection,
                args=(connection,),
                name="control-request",
                daemon=True,
            ).start()
        except BaseException:
            self._free_connections.release()
            raise

    def _serve_connection(self, connection: socket.socket) -> None:
        with closing(connection), suppress(OSError):  # a client may disconnect at any time
            try:
                connection.settimeout(_REQUEST_TIMEOUT_SECONDS)
                response = self._response_to(connection)
                connection.settimeout(_REQUEST_TIMEOUT_SECONDS)
                connection.sendall(json.dumps(response).encode() + b"\n")
            finally:
                self._free_connections.release()

    def _response_to(self, connection: socket.socket) -> ResponseJson:
        try:
            peer = _peer_of(connection)
            _refuse_own_user(peer)
            result = self._handle(_receive_request(connection), peer)
        except GitvsError as error:
            return {"ok": False, "error": str(error), "exitCode": int(error.exit_code)}
        except Exception:
            log.exception("request failed")
            return {
                "ok": False,
                "error": "the agent met a bug; its log has the details",
                "exitCode": int(ExitCode.ERROR),
            }
        return {"ok": True, "result": result}


def _send_busy_error(connection: socket.socket) -> None:
    text = f"the agent already answers {_MAX_CONNECTIONS} requests, the most at a time: try again"
    response = {"ok": False, "error": text, "exitCode": int(ExitCode.ERROR)}
    with closing(connection), suppress(OSError):
        connection.setblocking(False)
        connection.sendall(json.dumps(response).encode() + b"\n")


def _peer_of(connection: socket.socket) -> Peer:
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    pid, uid, _ = _PEER_CREDENTIALS.unpack(data)
    return Peer(pid, uid)


def _refuse_own_user(peer: Peer) -> None:
    """Prevent Git and ssh, which run as the agent's user, from lifting the agent's gates.

    Raises:
        ControlFailed: the peer runs as the agent's own user, which is not root.
    """
    if peer.uid == os.geteuid() != 0:
        raise ControlFailed(
            f"user {peer.user_name} runs the agent and may not control it: run this as"
            " root or as a member of group gitvs-admin"
        )


def _receive_request(connection: socket.socket) -> RequestJson:
    """Read one line.

    Raises:
        ControlFailed: it is too long, too slow, or not a JSON object.
    """
    data = bytearray()
    deadline = time.monotonic() + _REQUEST_TIMEOUT_SECONDS
    try:
        while not data.endswith(b"\n"):
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            chunk = connection.recv(4096)
            data += chunk
            if not chunk or len(data) > _MAX_REQUEST_BYTES:
                break
    except TimeoutError as error:
        raise ControlFailed(
            f"no complete request came within {_REQUEST_TIMEOUT_SECONDS:g} s; nothing was done"
        ) from error
    except OSError as error:
        raise ControlFailed("the client disconnected before its request was complete") from error
    try:
        request = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ControlFailed(f"a request is one JSON object on one line: {error}") from error
    if not isinstance(request, dict):
        raise ControlFailed("a request is one JSON object on one line")
    return request


def send_request(
    path: Path, request: RequestJson, timeout_seconds: float = ANSWER_TIMEOUT_SECONDS
) -> Any:
    """Send a request to the agent, and return the result.

    Raises:
        AgentUnreachable: no agent answers there; AgentNotAnswering if there may be one.
        ControlFailed: the agent rejected the request, with its message and exit code.
    """
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as connection:
        connection.settimeout(timeout_seconds)
        try:
            connection.connect(str(path))
            with suppress(ConnectionError):  # a busy agent answers and closes without reading
                connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                response = json.loads(stream.readline())
        except PermissionError as error:
            raise AgentNotAnswering(
                f"{path}: no permission; run this as root or as a member of group gitvs-admin"
            ) from error
        except BlockingIOError as error:  # Source: unix(7), connect on a non-blocking socket
            raise AgentNotAnswering(
                f"{path}: too many others are waiting for the agent; nothing was done, try again"
            ) from error
        except TimeoutError as error:
            raise AgentNotAnswering(
                f"the agent did not answer within {timeout_seconds:g} s; `systemctl"
                " status gitvs` and `journalctl -u gitvs` show more"
            ) from error
        except (OSError, ValueError) as error:
            raise AgentUnreachable(
                f"no agent answers at {path}; is it running? (`systemctl status gitvs`)"
            ) from error
    if response["ok"]:
        return response["result"]
    raise ControlFailed(response["error"], ExitCode(response["exitCode"]))
