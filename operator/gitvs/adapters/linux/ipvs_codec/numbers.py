"""The kernel's numbers for IPVS, and the layout of attributes in a message.

Within the codec, only this module contains kernel numbers. `svc`, `dest` and `fwd` are the
kernel's words.

Source of every number: Linux include/uapi/linux/ip_vs.h. Which attributes a command needs,
their sizes and byte order: net/netfilter/ipvs/ip_vs_ctl.c (ip_vs_svc_policy, ip_vs_dest_policy,
ip_vs_genl_fill_service, ip_vs_genl_fill_dest).
"""

from __future__ import annotations

from collections.abc import Mapping
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_SCTP,
    IPPROTO_TCP,
    IPPROTO_UDP,
)
from struct import Struct, calcsize

from gitvs.adapters.linux.attributes import ATTRIBUTE
from gitvs.core.model.resources import (
    AddressFamily,
    Forwarding,
    PersistenceEngine,
    Protocol,
    Scheduler,
    SchedulerFlag,
    SyncRole,
    TimeoutName,
    TunnelChecksum,
    TunnelType,
)

FAMILY_NAME = "IPVS"  # IPVS_GENL_NAME
FAMILY_VERSION = 1  # IPVS_GENL_VERSION

Payload = bytes
"""A generic-netlink payload for the family `IPVS`."""

_COMMAND_HEADER = Struct("=BBH")  # command, family version, reserved


def _command_header(command: int) -> bytes:
    return _COMMAND_HEADER.pack(command, FAMILY_VERSION, 0)


# IPVS_CMD_*, as the header of a message
NEW_SERVICE, SET_SERVICE, DEL_SERVICE, GET_SERVICE = map(_command_header, (1, 2, 3, 4))
NEW_DEST, SET_DEST, DEL_DEST, GET_DEST = map(_command_header, (5, 6, 7, 8))
NEW_DAEMON, DEL_DAEMON, GET_DAEMON = map(_command_header, (9, 10, 11))
SET_CONFIG, GET_CONFIG, GET_INFO = map(_command_header, (12, 13, 15))

# IPVS_CMD_ATTR_*
SERVICE, DEST, DAEMON = 1, 2, 3
TIMEOUTS = {TimeoutName.TCP: 4, TimeoutName.TCP_FIN: 5, TimeoutName.UDP: 6}

# IPVS_SVC_ATTR_*
SVC_AF, SVC_PROTOCOL, SVC_ADDR, SVC_PORT, SVC_FWMARK = 1, 2, 3, 4, 5
SVC_SCHED_NAME, SVC_FLAGS, SVC_TIMEOUT, SVC_NETMASK, SVC_PE_NAME = 6, 7, 8, 9, 11
SVC_STATS64 = 12

# IPVS_DEST_ATTR_*
DEST_ADDR, _DEST_PORT, _DEST_FWD_METHOD, _DEST_WEIGHT = 1, 2, 3, 4
_DEST_U_THRESH, _DEST_L_THRESH = 5, 6
DEST_ACTIVE_CONNS, DEST_INACT_CONNS, DEST_PERSIST_CONNS = 7, 8, 9
_DEST_ADDR_FAMILY, DEST_STATS64 = 11, 12
_DEST_TUN_TYPE, _DEST_TUN_PORT, _DEST_TUN_FLAGS = 13, 14, 15

# IPVS_STATS_ATTR_*: CONNS, INPKTS, OUTPKTS, INBYTES, OUTBYTES, and the rates CPS, INBPS, OUTBPS.
STATS = (1, 2, 3, 4, 5, 6, 9, 10)

# IPVS_DAEMON_ATTR_*
DAEMON_STATE, DAEMON_MCAST_IFN, DAEMON_SYNC_ID, DAEMON_SYNC_MAXLEN = 1, 2, 3, 4
DAEMON_MCAST_GROUP, DAEMON_MCAST_GROUP6, DAEMON_MCAST_PORT, DAEMON_MCAST_TTL = 5, 6, 7, 8

# IPVS_INFO_ATTR_*
INFO_VERSION = 1

# IP_VS_SVC_F_*
PERSISTENT, HASHED, ONE_PACKET, _SCHED1, _SCHED2 = 0x1, 0x2, 0x4, 0x8, 0x10
ALL_FLAGS = 0xFFFFFFFF
"""The mask of every request, so that flags are also cleared. Source: ipvsadm(8), libipvs."""

# IP_VS_CONN_F_*; LOCALNODE (1) and BYPASS (4) are the kernel's own, never a real server's.
FORWARDING = {Forwarding.NAT: 0, Forwarding.TUN: 2, Forwarding.DR: 3}
# IP_VS_CONN_F_TUNNEL_TYPE_*
TUNNEL_TYPES = {TunnelType.IPIP: 0, TunnelType.GUE: 1, TunnelType.GRE: 2}
# IP_VS_TUNNEL_ENCAP_FLAG_*
CHECKSUMS = {TunnelChecksum.NONE: 0, TunnelChecksum.FULL: 1, TunnelChecksum.REMOTE: 2}
# IP_VS_STATE_*
ROLES = {SyncRole.PRIMARY: 1, SyncRole.BACKUP: 2}

PROTOCOLS = {
    Protocol.TCP: IPPROTO_TCP,
    Protocol.UDP: IPPROTO_UDP,
    Protocol.SCTP: IPPROTO_SCTP,
}
FAMILIES = {AddressFamily.IPV4: AF_INET, AddressFamily.IPV6: AF_INET6}

# The meaning of the two scheduler bits depends on the scheduler.
# Source: Linux ip_vs_sh.c and ip_vs_mh.c, IP_VS_SVC_F_SCHED_{SH,MH}_{FALLBACK,PORT}.
SCHEDULER_FLAGS: Mapping[str, Mapping[SchedulerFlag, int]] = {
    Scheduler.SH: {SchedulerFlag.SH_FALLBACK: _SCHED1, SchedulerFlag.SH_PORT: _SCHED2},
    Scheduler.MH: {SchedulerFlag.MH_FALLBACK: _SCHED1, SchedulerFlag.MH_PORT: _SCHED2},
}

_FORWARDING_BY_NUMBER = {number: word for word, number in FORWARDING.items()}
_TUNNEL_TYPE_BY_NUMBER = {number: word for word, number in TUNNEL_TYPES.items()}
_CHECKSUM_BY_NUMBER = {number: word for word, number in CHECKSUMS.items()}
_ROLE_BY_NUMBER = {number: word for word, number in ROLES.items()}
_PROTOCOL_BY_NUMBER = {number: word for word, number in PROTOCOLS.items()}
_SCHEDULER_BY_NAME: Mapping[str, Scheduler] = {str(word): word for word in Scheduler}
_ENGINE_BY_NAME: Mapping[str, PersistenceEngine] = {str(word): word for word in PersistenceEngine}

U8 = Struct("=B")
U16 = Struct("=H")
U32 = Struct("=I")


def _attribute_header(type_: int, size: int) -> bytes:
    """Return the header of an attribute with a value of `size` bytes."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + size, type_)


def _layout(*attributes: tuple[int, str]) -> tuple[Struct, tuple[bytes, ...]]:
    """Return the layout of consecutive attributes of fixed sizes, and the header of each.

    Attributes are given as their type and the format of their value. The `Struct` packs and
    unpacks all of them in one step, as header and value in turn, which makes thousands of rules
    cheap.
    """
    sizes = [calcsize(f"={format_}") for _, format_ in attributes]
    formats = [
        f"4s{format_}{-size % 4}x" for (_, format_), size in zip(attributes, sizes, strict=True)
    ]
    types = [type_ for type_, _ in attributes]
    headers = [_attribute_header(type_, size) for type_, size in zip(types, sizes, strict=True)]
    return Struct(f"={''.join(formats)}"), tuple(headers)


ENDPOINT, _ENDPOINT_HEADERS = _layout(
    (SVC_AF, "H"), (SVC_PROTOCOL, "H"), (SVC_ADDR, "16s"), (SVC_PORT, "H")
)
MARK, _MARK_HEADERS = _layout((SVC_AF, "H"), (SVC_FWMARK, "I"))
SVC_VALUES, _SVC_VALUES_HEADERS = _layout((SVC_FLAGS, "II"), (SVC_TIMEOUT, "I"), (SVC_NETMASK, "I"))

_KEY_ATTRIBUTES = ((DEST_ADDR, "16s"), (_DEST_PORT, "H"), (_DEST_ADDR_FAMILY, "H"))
_METHOD_AND_WEIGHT_ATTRIBUTES = ((_DEST_FWD_METHOD, "I"), (_DEST_WEIGHT, "I"))
_THRESHOLD_ATTRIBUTES = ((_DEST_U_THRESH, "I"), (_DEST_L_THRESH, "I"))
_TUNNEL_ATTRIBUTES = ((_DEST_TUN_TYPE, "B"), (_DEST_TUN_PORT, "H"), (_DEST_TUN_FLAGS, "H"))
DEST_KEY, _DEST_KEY_HEADERS = _layout(*_KEY_ATTRIBUTES)
DEST_VALUES, _DEST_VALUES_HEADERS = _layout(
    *_KEY_ATTRIBUTES, *_METHOD_AND_WEIGHT_ATTRIBUTES, *_THRESHOLD_ATTRIBUTES
)
TUNNEL, _TUNNEL_HEADERS = _layout(*_TUNNEL_ATTRIBUTES)
_DEST_HEADER = _attribute_header(DEST, DEST_VALUES.size + TUNNEL.size)
_DEST_NUMBER_ATTRIBUTES = (
    *_KEY_ATTRIBUTES[1:2],
    *_METHOD_AND_WEIGHT_ATTRIBUTES,
    *_TUNNEL_ATTRIBUTES,
    *_THRESHOLD_ATTRIBUTES,
    *_KEY_ATTRIBUTES[2:],
)
_DEST_CONFIGURATION, _DEST_CONFIGURATION_HEADERS = _layout(
    *_KEY_ATTRIBUTES[:1], *_DEST_NUMBER_ATTRIBUTES
)
"""In the kernel's order since Linux 5.3, without connections and counters."""
