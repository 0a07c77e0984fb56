"""The carrier's REST API over live calls alone."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, cast

from bothway.carrier.api.operations import Resources
from bothway.carrier.api.rest import RestApi
from bothway.carrier.api.switch import Switch
from bothway.carrier.config import Account
from bothway.carrier.keys import Keys
from bothway.carrier.store.store import Store
from bothway.runtime.health import Health
from bothway.runtime.metrics import Metrics

API_ID = "0a3b5f9e-0000-4000-8000-000000000000"


@dataclass
class LiveCall:
    account: Account
    call_id: str
    live: set[str]

    def hangup(self) -> None:
        self.live.discard(self.call_id)


class LiveCalls:
    """What of a `Switch` hanging up asks for."""

    def __init__(self, account: Account, live: set[str]) -> None:
        self.account = account
        self.live = live

    def live_call(self, call_id: str) -> LiveCall | None:
        return LiveCall(self.account, call_id, self.live) if call_id in self.live else None


class NoTasks:
    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> Any:
        raise AssertionError(f"{name}: hanging up needs no task")


def live_api(account: Account, live: set[str]) -> RestApi:
    """It has no records at all: hanging up reads none, and so is done on the spot."""
    resources = Resources(
        store=cast("Store", None),
        switch=cast("Switch", LiveCalls(account, live)),
        accounts=(account,),
        keys=Keys(b"k" * 32),
        new_id=lambda: API_ID,
        deliver=lambda *_: None,
    )
    api = RestApi(Health(), Metrics(), lambda: API_ID)
    api.open(resources, NoTasks())
    return api
