"""What passes for health alone leave is what a pass over everything wants, whatever came before."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest

from gitvs.core.model.health import Failure
from gitvs.core.model.history import Outcome
from tests.agent.test_health import CHECKS, Ward, begin
from tests.support.agents import Running, eventually, service, site
from tests.support.effort import examples

ADDRESSES = [f"10.0.0.{number}" for number in range(1, 5)]
STEPS = 14


@pytest.mark.parametrize("seed", range(examples(4)))
def test_a_full_pass_finds_nothing_to_do_after_any_history(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    here = Ward(site(tmp_path).folder)
    here.make_checker = here.make
    scheduler = ("wlc", "mh", "sh", "dh")[seed % 4]
    here.push(text_of(10, 4, scheduler))
    with here.running() as running:
        begin(here, running)
        for number in range(STEPS):
            step(here, running, chance, number, scheduler)
            settle(here, running)
            before = here.state()
            answer = running.order("sync")
            settle(here, running)
            assert here.state() == before, f"seed {seed}, step {number}"
            assert answer["result"] == str(Outcome.CONVERGED), f"seed {seed}, step {number}"
            assert running.status.drifted_keys == ()


def text_of(weight: int, servers: int, scheduler: str) -> str:
    drain = "0s" if scheduler == "dh" else "60s"
    return service(weight, servers, scheduler, drain, CHECKS)


def step(here: Ward, running: Running, chance: random.Random, number: int, scheduler: str) -> None:
    """Do one thing that changes who serves, or may."""
    match chance.choice(["fail", "fail", "fail", "pass", "drain", "undrain", "weight", "checker"]):
        case "fail":
            failing = chance.sample(ADDRESSES, chance.randint(1, 4))
            here.checker.give(failing, chance.choice(list(Failure)), count=chance.randint(1, 4))
        case "pass":
            here.checker.give(count=chance.randint(1, 20))
        case "drain":
            running.order("drain", subject=chance.choice(ADDRESSES[:3]))
        case "undrain":
            drains = [o.subject for o in running.status.operations.drains]
            if drains:
                running.order("undrain", subject=chance.choice(drains))
        case "weight":
            text = text_of(10 + number, chance.choice([3, 4]), scheduler)
            here.push(f"{text}# {number}\n")
            running.order("sync")
            running.order("sync")  # what drained without connections is removed
        case "checker":
            here.checker.begin_anew()


def settle(here: Ward, running: Running) -> None:
    """Wait until everything that was reported is in force."""
    tracker, done = running.agent.health.tracker, threading.Event()

    def is_quiet() -> bool:
        return not here.checker.has_news() and not tracker.serving().changed

    eventually(is_quiet)
    running.agent.work_queue.add_job(done.set)  # after what the worker is doing
    assert done.wait(60)
    eventually(is_quiet)
