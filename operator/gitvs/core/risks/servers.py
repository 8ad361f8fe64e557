"""Risks of real servers that are reached in a new way: what else must be set up for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gitvs.core.model import Forwarding, RealServer
from gitvs.core.risks.risk import Risk, risk, several
from gitvs.core.risks.step import Step


def _real_server_setup(step: Step) -> Iterator[Risk]:
    new = [
        s
        for before, s in step.changed(RealServer)
        if s.forwarding is not Forwarding.NAT
        and not step.is_local(s.address)
        and (before is None or (before.forwarding, before.tunnel) != (s.forwarding, s.tunnel))
    ]
    if new:
        addresses = list(dict.fromkeys(str(s.address) for s in new))
        yield risk(
            "real-server-setup",
            [s.key for s in new],
            f"direct routing or tunnelling to {several('real server', addresses)} is new: unless"
            " the VIPs are set up there, without answering ARP for them, what is sent there is"
            f" lost; `gitvs render --real-server {addresses[0]}` prints how",
        )


RULES: tuple[Callable[[Step], Iterator[Risk]], ...] = (_real_server_setup,)
