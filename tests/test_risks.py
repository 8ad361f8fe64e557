"""Risk notes: what a reviewer should know, and silence about what does not change."""

from __future__ import annotations

from gitvs.core.model import Desired, Forwarding, Observation, Resource, State
from gitvs.core.preview import preview
from gitvs.core.risks import risks, vip_risks
from tests.builders import real_server, vip, virtual_service


def desired(*resources: Resource, drain_seconds: float = 60) -> Desired:
    """A director's desired state; all its services drain alike."""
    state = State(resources)
    return Desired("lb1", "gitvs0", state, dict.fromkeys(state, drain_seconds))


def notes(
    before: Desired | None, after: Desired, host: Observation | None = None
) -> dict[str, str]:
    """What is said of a step, by rule."""
    found = risks(before, after, preview(before, after).plan, host)
    assert len({r.name for r in found}) == len(found), "what is alike is one note"
    return {r.name: r.message for r in found}


def web(*addresses: str, forwarding: Forwarding = Forwarding.NAT) -> list[Resource]:
    """A bound service with these real servers."""
    servers = [real_server(address=a, port=80, forwarding=forwarding) for a in addresses]
    return [vip(), virtual_service(), *servers]


def test_real_servers_of_direct_routing_need_set_up() -> None:
    said = notes(None, desired(*web("10.0.0.1", forwarding=Forwarding.DR)))
    assert "`gitvs render --real-server 10.0.0.1`" in said["real-server-setup"]


def test_many_real_servers_are_one_note() -> None:
    many = [f"10.0.0.{n}" for n in range(1, 6)]
    said = notes(None, desired(*web(*many, forwarding=Forwarding.TUN)))
    assert "5 real servers (10.0.0.1, 10.0.0.2, 10.0.0.3 and 2 more)" in said["real-server-setup"]


def test_real_servers_that_stay_or_are_local_need_no_set_up() -> None:
    before = desired(*web("10.0.0.1", forwarding=Forwarding.DR))
    assert notes(before, desired(*before.state.values(), vip("203.0.113.11"))) == {}
    assert notes(None, desired(*web("127.0.0.1", forwarding=Forwarding.DR))) == {}


def vip_notes(before: dict[str, Desired], after: dict[str, Desired]) -> dict[str, str]:
    """What is said of VIPs across directors, by rule."""
    return {r.name: r.message for r in vip_risks(before, after)}


def test_a_vip_that_moves_names_both_directors() -> None:
    with_vip, without = desired(vip()), desired()
    said = vip_notes({"lb1": with_vip, "lb2": without}, {"lb1": without, "lb2": with_vip})
    assert list(said) == ["vip-moves"]
    assert "moving VIP 203.0.113.10 from lb1 to lb2" in said["vip-moves"]


def test_vips_that_move_alike_are_one_note() -> None:
    vips = desired(*(vip(f"203.0.113.{n}") for n in range(9)))
    said = vip_notes({"lb1": vips, "lb2": desired()}, {"lb1": desired(), "lb2": vips})
    assert "9 VIPs (203.0.113.0, 203.0.113.1, 203.0.113.2 and 6 more)" in said["vip-moves"]


def test_a_vip_on_more_directors_than_before_is_noted() -> None:
    with_vip = desired(vip())
    said = vip_notes({"lb1": with_vip}, {"lb1": with_vip, "lb2": with_vip})
    assert list(said) == ["vip-on-more-directors"]
    assert "binding VIP 203.0.113.10 on lb2 beside lb1:" in said["vip-on-more-directors"]


def test_a_director_without_a_document_keeps_its_vips() -> None:
    said = vip_notes({"lb1": desired(vip())}, {"lb2": desired(vip())})
    assert "beside lb1 (lb1: without a document now" in said["vip-on-more-directors"]


def test_vips_that_are_new_or_stay_or_leave_are_no_risk() -> None:
    with_vip, without = desired(vip()), desired()
    assert vip_notes({"lb1": without}, {"lb1": with_vip, "lb2": with_vip}) == {}
    assert vip_notes({"lb1": with_vip}, {"lb1": with_vip}) == {}
    assert vip_notes({"lb1": with_vip, "lb2": with_vip}, {"lb1": with_vip, "lb2": without}) == {}
