"""Converts changes of IPVS to requests."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator

from gitvs.adapters.linux.ipvs_codec import requests
from gitvs.adapters.linux.ipvs_codec.numbers import Payload
from gitvs.core.model.resources import (
    Listener,
    RealServer,
    SyncDaemon,
    Timeout,
    VirtualService,
)
from gitvs.core.planning.plan import Change

_RULES = (VirtualService, RealServer)
_NO_ERRORS: frozenset[int] = frozenset()

_NOT_RUNNING_ERRORS = frozenset({errno.ESRCH})


def ipvs_requests(changes: Iterable[Change]) -> Iterator[Payload]:
    """Yield the request of each change; consecutive ones of a service share its name."""
    listener: Listener | None = None
    packed_service = b""
    for change in changes:
        before, after = change.before, change.after
        rule = before if after is None else after
        if not isinstance(rule, _RULES):
            yield _other_request(change)
            continue
        if rule.listener is not listener:
            listener = rule.listener
            packed_service = requests.service_attribute(listener)
        if isinstance(rule, RealServer):
            if before is None:
                yield requests.new_real_server(rule, packed_service)
            elif after is None:
                yield requests.delete_real_server(rule, packed_service)
            else:
                yield requests.set_real_server(rule, packed_service)
        elif before is None:
            yield requests.new_service(rule, packed_service)
        elif after is None:
            yield requests.delete_service(rule.listener, packed_service)
        else:
            yield requests.set_service(rule, packed_service)


def _other_request(change: Change) -> Payload:
    """Return the IPVS request of a change of something else than a rule."""
    match change.resource:
        case SyncDaemon(role) as daemon:
            if change.after is None:
                return requests.stop_sync_daemon(role)
            return requests.start_sync_daemon(daemon)
        case Timeout() as timeout:
            return requests.set_timeout(timeout)
        case _:
            raise AssertionError(f"{change.key} is not an object of IPVS")


def replacement_requests(daemon: SyncDaemon) -> list[tuple[Payload, frozenset[int]]]:
    """Return the requests that replace a sync daemon, and the errors to tolerate for each."""
    stop = requests.stop_sync_daemon(daemon.role)
    return [(stop, _NOT_RUNNING_ERRORS), (requests.start_sync_daemon(daemon), _NO_ERRORS)]
