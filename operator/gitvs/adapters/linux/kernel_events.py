"""Reports changes of the dummy interface, its addresses or local routes.

rtnetlink sends events by multicast. IPVS sends none: its drift is found only by reading.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from enum import StrEnum

from gitvs.adapters.linux.attributes import (
    decodes,
    name_text,
    split_messages,
    unpack_attributes,
)
from gitvs.adapters.linux.netlink import NETLINK_ROUTE
from gitvs.adapters.linux.rtnetlink_codec.numbers import (
    ADDRESS,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    LINK,
    ROUTE,
    RT_TABLE_LOCAL,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_LINK,
)
from gitvs.core.errors import KernelUnreadable

log = logging.getLogger(__name__)

_MULTICAST_GROUPS = (
    RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE
)
_DATAGRAM_BYTES = 1 << 16
_SOCKET_BUFFER_BYTES = 1 << 20
_UNIMPORTANT_LINK_ATTRIBUTES = frozenset({7, 23, 26, IFLA_IFALIAS})
"""Counters (IFLA_STATS, IFLA_STATS64, IFLA_AF_SPEC), and IFLA_IFALIAS, which gitvs writes itself.

The kernel reports a changed alias only where the link is up.

Source: linux/if_link.h.
"""


class KernelEvent(StrEnum):
    """What may have changed in the kernel, other than IPVS."""

    LINK = "link changed"
    ADDRESS = "address changed"
    LOCAL_ROUTE = "local route changed"
    OVERFLOW = "events overflowed"
    NOT_UNDERSTOOD = "event not understood"


class KernelEvents:
    """Watches one network namespace, in a separate thread.

    `on_change` is called once for each batch of events that
    contains a relevant one. An overflow is always relevant: anything may have changed.
    """

    def __init__(
        self, interfaces: Collection[str], on_change: Callable[[KernelEvent], None]
    ) -> None:
        """Subscribe to events of these interfaces; `start` begins to report them.

        Raises:
            KernelUnreadable: no socket is available.
        """
        self.interfaces = frozenset(interfaces)
        self._on_change = on_change
        self._indexes: set[int] = set()
        self._links: dict[int, bytes] = {}
        """What was important in the newest message about each link, by its index."""
        try:
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE
            )
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
            self._socket.bind((0, _MULTICAST_GROUPS))
            self._socket.setblocking(False)
        except OSError as error:
            raise KernelUnreadable(
                f"the events of the kernel cannot be received: {error.strerror}"
            ) from error
        self._stop_read_descriptor, self._stop_write_descriptor = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="kernel-events", daemon=True)

    def start(self) -> None:
        """Start to report changes."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether changes are reported."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """End the thread."""
        os.close(self._stop_write_descriptor)
        self._thread.join()
        os.close(self._stop_read_descriptor)
        self._socket.close()

    def _watch(self) -> None:
        while True:
            self._update_indexes()
            ready, _, _ = select.select([self._socket.fileno(), self._stop_read_descriptor], [], [])
            if self._stop_read_descriptor in ready:
                return
            event = self._read_events()
            if event is not None:
                self._on_change(event)

    def _update_indexes(self) -> None:
        for name in self.interfaces:
            with suppress(OSError):
                self._indexes.add(socket.if_nametoindex(name))

    def _read_events(self) -> KernelEvent | None:
        """Read all pending events; return the first one that is relevant, or None."""
        found = None
        while True:
            try:
                data = self._socket.recv(_DATAGRAM_BYTES)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    log.warning("events lost reason=%s", error.strerror)
                return KernelEvent.OVERFLOW
            found = found or self._event_in(data)

    def _event_in(self, data: bytes) -> KernelEvent | None:
        """Return the first relevant event of a datagram, or None."""
        try:
            events = [self._event_of(kind, p) for kind, _, _, p in split_messages(data)]
        except KernelUnreadable as error:
            log.warning("event not understood reason=%s", error)
            return KernelEvent.NOT_UNDERSTOOD
        return next(filter(None, events), None)

    @decodes("a change")
    def _event_of(self, kind: int, payload: bytes) -> KernelEvent | None:
        match kind:
            case kind if kind in (RTM_NEWLINK, RTM_DELLINK):
                _, _, index, _, _ = LINK.unpack_from(payload)
                name = name_text(unpack_attributes(payload, LINK.size).get(IFLA_IFNAME, b""))
                if index in self._indexes or name in self.interfaces:
                    self._indexes.add(index)
                    former, important = self._links.get(index), _important_part(payload)
                    self._links[index] = important
                    is_same = kind == RTM_NEWLINK and important == former
                    return None if is_same else KernelEvent.LINK
            case kind if kind in (RTM_NEWADDR, RTM_DELADDR):
                index = ADDRESS.unpack_from(payload)[4]
                if index in self._indexes:
                    return KernelEvent.ADDRESS
            case kind if kind in (RTM_NEWROUTE, RTM_DELROUTE):
                if ROUTE.unpack_from(payload)[4] == RT_TABLE_LOCAL:
                    return KernelEvent.LOCAL_ROUTE
        return None


def _important_part(payload: bytes) -> bytes:
    """Return a link message without what changes by itself, or by what gitvs writes."""
    attributes = unpack_attributes(payload, LINK.size)
    parts = [
        b"%d %s" % (type_, value)
        for type_, value in attributes.items()
        if type_ not in _UNIMPORTANT_LINK_ATTRIBUTES
    ]
    family_type_index_flags = payload[: LINK.size - 4]  # without the mask of changed flags
    return b" ".join([family_type_index_flags, *parts])
