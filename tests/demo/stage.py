"""The stage: the quickstart's Amsterdam, each host in a network namespace.

    client ──── lb-ams ──── web1, web2, canary, dns1, dns2

The director is the namespace of the calling process. The real servers have the quickstart's
addresses; mail, files and passive FTP are left without any.
"""

from __future__ import annotations

from tests.harness.lab import DIRECTOR, Lab, run_batch

WEB_VIP, WEB_VIP6 = "203.0.113.10", "2001:db8:a::10"
DNS_VIP, DNS_VIP6 = "203.0.113.53", "2001:db8:a::53"

_WEB = {"web1": 11, "web2": 12, "canary": 19}
_DNS = {"dns1": 53, "dns2": 54}
_NUMBERS = {DIRECTOR: 254, **_WEB, **_DNS}


def set_up() -> Lab:
    """Make the hosts and start their servers. Close the lab to end it all."""
    lab = Lab((*_WEB, *_DNS))
    for host, number in _NUMBERS.items():
        with lab.at(host):
            run_batch(
                [
                    f"address add 10.1.0.{number}/24 dev back",
                    f"address add 2001:db8:a:1::{number}/64 dev back nodad",
                ]
            )
    # A link that goes down would lose its IPv6 addresses.
    lab.set_sysctls("web1", {"net.ipv6.conf.all.keep_addr_on_down": "1"})
    lab.answer_directly(DNS_VIP, DNS_VIP6, hosts=_DNS)
    lab.serve(8080, 8443, hosts=_WEB)
    lab.serve(53, hosts=_DNS)
    return lab
