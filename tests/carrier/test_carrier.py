from __future__ import annotations

import asyncio
import base64
import gc
import json
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from plivo.utils import validate_v3_signature
from tests.carrier.world import ACCOUNT, Caller, Request, Socket, World, page, until, world

from bothway.carrier.carrier import Carrier, new_account
from bothway.carrier.config import Account, Application, Config, Number
from bothway.core.profile import DOCUMENTED, Limits
from bothway.errors import UsageError
from bothway.wire.leg import LEG_PATH

pytestmark = pytest.mark.virtual_time

OTHER = Account("MABBBBBBBBBBBBBBBBBB", "another-token")


def authorized(token: str, auth_id: str = ACCOUNT.auth_id) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{auth_id}:{token}".encode()).decode()}


class Phone:
    """A WebSocket leg, by hand."""

    def __init__(self, w: World, account: Account = ACCOUNT) -> None:
        self.url = w.carrier.leg_url
        self.headers = authorized(account.auth_token, account.auth_id)
        self.messages: list[dict[str, Any]] = []
        self.frames: list[bytes] = []

    async def dial(self, **dial: Any) -> dict[str, Any]:
        """Call, answer each frame with silence, and give the last message."""
        async with aiohttp.ClientSession() as session, session.ws_connect(self.url, headers=self.headers) as leg:
            await leg.send_json({"type": "dial", **dial})
            async for message in leg:
                if message.type is aiohttp.WSMsgType.BINARY:
                    self.frames.append(message.data)
                    await leg.send_bytes(b"\xff" * len(message.data))
                else:
                    self.messages.append(json.loads(message.data))
        return self.messages[-1]


async def brief(socket: Socket) -> None:
    await socket.until("media", 5)


def test_a_new_account_is_one_that_the_sdk_takes() -> None:
    one, other = new_account(), new_account()
    assert len(one.auth_id) == 20
    assert one.auth_id.startswith("MA")
    assert one.auth_token != other.auth_token
    assert len(one.auth_token) >= 40


@pytest.mark.usefixtures("both_times")
async def test_a_call_over_a_websocket_leg(tmp_path: Path) -> None:
    async with world(tmp_path, brief) as w:
        w.site.pages["/answer"] = w.stream()
        phone = Phone(w)
        headers = {"X-PH-Tenant": "42"}
        ended = await phone.dial(answer_url=w.site.url + "/answer", method="GET", headers=headers, **{"from": "+1555"})
        assert [message["type"] for message in phone.messages] == ["ringing", "answered", "ended"]
        assert (ended["code"], ended["ran_to_end"]) == (4010, True)
        assert len(phone.frames) >= 5
        request = w.site.asked("/answer")[0]
        assert request.method == "GET"
        assert request.params["X-PH-Tenant"] == "42"
        assert request.params["From"] == "1555"
        assert request.params["CallUUID"] == phone.messages[0]["call_id"]


NUMBERS = Config(
    accounts=(ACCOUNT, OTHER),
    applications=(Application("one", "http://127.0.0.1:1/"),),
    numbers=(Number("+15550100", "one"),),
)


async def test_a_number_is_answered_by_its_application(tmp_path: Path) -> None:
    async with world(tmp_path, brief) as w:
        w.site.pages["/one"] = page("<Response><Hangup reason='busy'/></Response>")
        application = Application("one", w.site.url + "/one", hangup_url=w.site.url + "/hangup", account=OTHER.auth_id)
        config = Config((ACCOUNT, OTHER), (application,), (Number("+1 555-0100", "one"),))
        async with Carrier(account=ACCOUNT, config=config, allow_private=True) as carrier:
            w.carrier, default = carrier, w.carrier
            ended = await Phone(w).dial(to="15550100", **{"from": "15550001"})
            w.carrier = default
        assert ended["code"] == 3010
        (request,) = w.site.asked("/one")
        assert request.params["To"] == "15550100"
        assert request.params["ParentAuthID"] == OTHER.auth_id
        assert signed_by(request) == [OTHER]


def signed_by(request: Request) -> list[Account]:
    return [
        account
        for account in (ACCOUNT, OTHER)
        if validate_v3_signature(
            request.method,
            request.url,
            request.headers["x-plivo-signature-v3-nonce"],
            account.auth_token,
            request.headers["x-plivo-signature-v3"],
            dict(request.form),
        )
    ]


@pytest.mark.parametrize("account", [ACCOUNT, OTHER], ids=["first", "second"])
async def test_a_call_to_an_answer_url_belongs_to_who_dialled_it(tmp_path: Path, account: Account) -> None:
    async with world(tmp_path, config=NUMBERS) as w:
        w.site.pages["/answer"] = page("<Response/>")
        await Phone(w, account).dial(answer_url=w.site.url + "/answer")
        assert signed_by(w.site.asked("/answer")[0]) == [account]


REFUSED = [
    ({"to": "15550199"}, "no application answers 15550199"),
    ({"answer_url": "http://h/", "headers": {"CallUUID": "x"}}, "the header 'CallUUID' is none of a call's"),
    ({"answer_url": "http://h/", "headers": {"X-PH-a b": "x"}}, "the header 'X-PH-a b' is none of a call's"),
]


@pytest.mark.parametrize(("dial", "reason"), REFUSED, ids=range(len(REFUSED)))
async def test_what_is_refused(tmp_path: Path, dial: dict[str, Any], reason: str) -> None:
    async with world(tmp_path, config=NUMBERS) as w:
        phone = Phone(w)
        refused = await phone.dial(**dial)
        assert refused["type"] == "refused"
        assert reason in refused["reason"]
        assert not w.carrier.calls
        assert w.metric("bothway_calls_active") == 0


async def test_a_carrier_that_is_full(tmp_path: Path) -> None:
    gate = asyncio.Event()

    async def wait(request: Request) -> bytes:
        await gate.wait()
        return page(b"")

    async with world(tmp_path, limits={"calls": 1}) as w:
        w.site.pages["/hangup"] = wait
        caller, _ = w.place(w.stream())
        refused = await Phone(w).dial(answer_url=w.site.url + "/answer")
        assert (refused["type"], refused["reason"]) == ("refused", "the carrier has 1 calls, and takes no more")
        caller.hang_up()
        await until(lambda: w.site.asked("/hangup"))
        w.site.pages["/answer"] = page("<Response/>")
        ended = await Phone(w).dial(answer_url=w.site.url + "/answer")
        assert ended["type"] == "ended", "a call whose callbacks are on their way takes no line"
        gate.set()
        await w.over(caller)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (LEG_PATH, {}, 401),
        (LEG_PATH, authorized("wrong"), 401),
        ("/v1/other", authorized(ACCOUNT.auth_token), 404),
    ],
)
async def test_upgrades_that_are_refused(tmp_path: Path, path: str, headers: dict[str, str], status: int) -> None:
    async with world(tmp_path) as w, aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(w.carrier.url + path, headers=headers)
        assert caught.value.status == status


async def test_stopping_ends_calls_and_accounts_for_them(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        callers = [w.place(w.stream())[0] for _ in range(5)]
        await until(lambda: len(w.streams.sockets) == 5)
        await w.carrier.stop()
        for caller in callers:
            w.check_accounted(caller, 5010, "Plivo")
            assert caller.detail == "the carrier was stopped"
        assert not w.carrier.calls
        assert w.carrier.health.draining
        await until(lambda: all(stream.closed.is_set() for stream in w.streams.sockets))
        assert {stream.close_code for stream in w.streams.sockets} == {1000}
        with pytest.raises(UsageError, match="takes no calls"):
            w.place(w.stream())
        await w.carrier.stop()
    assert "bothway-writer" not in {thread.name for thread in threading.enumerate()}


async def test_stopping_lets_calls_end_within_the_grace(tmp_path: Path) -> None:
    async with world(tmp_path, brief) as w:
        caller, _ = w.place(w.stream())
        await w.streams.first()
        await w.carrier.stop(grace=5.0)
        w.check_accounted(caller, 4010, "Plivo")
        refused = Phone(w)
        with pytest.raises(aiohttp.ClientConnectorError):
            await refused.dial(answer_url="http://h/")


@pytest.mark.real_sockets
async def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        carrier = Carrier(account=ACCOUNT, port=taken.getsockname()[1], data=tmp_path)
        with pytest.raises(UsageError, match=r"cannot listen at 127\.0\.0\.1"):
            await carrier.start()
    assert "bothway-writer" not in {thread.name for thread in threading.enumerate()}, "nothing is left behind"
    assert not carrier.health.ready
    await carrier.stop()
    gc.collect()


async def test_a_data_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    carrier = Carrier(account=ACCOUNT, data=tmp_path / "file")
    with pytest.raises(UsageError, match=r"the data folder .* cannot be used"):
        await carrier.start()


async def test_without_a_data_folder_nothing_is_written(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        async with Carrier(account=ACCOUNT, allow_private=True, record_audio=True) as carrier:
            caller = Caller()
            w.site.pages["/answer"] = page("<Response/>")
            carrier.place(caller, from_="1", to="2", application=Application("a", w.site.url + "/answer"))
            await asyncio.wait_for(caller.done.wait(), 5)
        assert caller.cause is not None
        assert caller.cause.code == 4010
        assert not (tmp_path / "calls").exists()


async def test_accounts() -> None:
    assert Carrier(config=NUMBERS).account == ACCOUNT
    assert Carrier(account=OTHER, config=NUMBERS).account == OTHER
    assert Carrier().account != Carrier().account
    with pytest.raises(UsageError, match="not running"):
        Carrier().place(Caller(), from_="1", to="2", application=NUMBERS.applications[0])


async def test_a_seed_makes_the_same_ids(tmp_path: Path) -> None:
    ids = []
    for name in ("one", "other"):
        async with world(tmp_path / name, brief, seed=7) as w:
            caller = await w.call(w.stream())
            ids.append((caller.call_id, w.streams.sockets[0].messages[0]["start"]["streamId"]))
    assert ids[0] == ids[1]


async def test_recording_is_off_unless_asked_for(tmp_path: Path) -> None:
    for name, record in (("on", True), ("off", False)):
        async with world(tmp_path / name, brief, record_audio=record) as w:
            caller = await w.call(w.stream())
            folder = w.data / "calls" / caller.call_id
            assert sorted(path.name for path in folder.iterdir()) == ["audio.wav", "log.jsonl"][not record :]


def test_the_limits_are_the_profiles() -> None:
    mine = replace(DOCUMENTED, limits=Limits(calls=3))
    assert Carrier(profile=mine, config=Config(limits=Limits(calls=7))).profile.limits.calls == 3


async def test_the_origin_that_the_outside_sees(tmp_path: Path) -> None:
    async with world(tmp_path, public_url="https://voice.example.com/") as w:
        assert w.carrier._origin() == "https://voice.example.com"
        assert w.carrier.url.startswith("http://127.0.0.1:")
