"""A carrier in a process of its own, which does as it is told: `python -m tests.carrier.kill_carrier SETTINGS`.

SETTINGS are `Settings` as JSON. It prints the carrier's URL; after that it answers each line of its input with one
line, JSON both:

    {"do": "place", "answer": URL, "hangup": URL}    ->  the call's id
    {"do": "hang up", "call": ID}                    ->  null
    {"do": "events", "call": ID}                     ->  the names of what its log has
    {"do": "heard", "call": ID}                      ->  how many frames its caller has heard
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from tests.carrier.world import ACCOUNT, Caller

from bothway.carrier import carrier as carrier_module
from bothway.carrier.callee import Callee, Callees, echo, rings_on
from bothway.carrier.carrier import Carrier
from bothway.carrier.config import Account, Application, Config
from bothway.carrier.store.delivery import Delivery, DeliveryPlan
from bothway.core.profile import DOCUMENTED
from bothway.speech.voices import ToneVoice

ANSWERS, RINGS = "15550101", "15550102"
"""Who answers at once and sends back what it hears, and who lets it ring."""

OTHERS = tuple(Account(f"MAOTHER{number:013}", f"the-token-of-{number}") for number in range(8))
"""Accounts beside `ACCOUNT`: each has a queue of its own, from which a second call is placed after most of a minute."""

_PEOPLE = Callees([Callee(ANSWERS, echo(ring=0.0)), Callee(RINGS, rings_on())])


class Settings(msgspec.Struct, frozen=True):
    """Where the carrier keeps what, and how long it may be silent before others take it for dead."""

    data: str
    db: str | None = None
    lease_s: float | None = None


def carrier_of(settings: Settings) -> Carrier:
    """The same carrier wherever it runs: in a process that is killed, and in a test after that."""
    if settings.lease_s is not None:
        vars(carrier_module)["Delivery"] = partial(Delivery, plan=DeliveryPlan(lease_s=settings.lease_s))
    return Carrier(
        account=ACCOUNT,
        config=Config(accounts=OTHERS, callees=_PEOPLE),
        profile=replace(DOCUMENTED, limits=replace(DOCUMENTED.limits, calls_per_second=0.02)),
        data=Path(settings.data),
        db=settings.db,
        allow_private=True,
        voice=ToneVoice(rate=8000),
    )


def obey(carrier: Carrier, callers: dict[str, Caller], order: Mapping[str, Any]) -> object:
    """Do what a line asks for, and give the answer."""
    if order["do"] == "place":
        caller = Caller(says=b"\x33" * 160)
        application = Application("test", order["answer"], hangup_url=order["hangup"])
        call = carrier.place(caller, from_="15550001", to="15550002", application=application)
        callers[call.call_id] = caller
        return call.call_id
    caller = callers[order["call"]]
    if order["do"] == "hang up":
        caller.hang_up()
        return None
    return len(caller.heard) if order["do"] == "heard" else [record["event"] for record in caller.records]


async def main(arguments: Sequence[str]) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    callers: dict[str, Caller] = {}
    async with carrier_of(msgspec.json.decode(arguments[0], type=Settings)) as carrier:
        print(carrier.url, flush=True)
        while line := await orders.readline():
            print(json.dumps(obey(carrier, callers, json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
