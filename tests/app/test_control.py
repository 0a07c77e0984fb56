"""What a call has done to itself by REST, in a whole call: hang up, transfer, record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.app.fake_carrier import CALL, FRAME, Answer, FakeCarrier, answer_form, ask, dialled, new_app
from tests.app.fake_rest import FakeRest, fake_rest
from tests.serving import served

from bothway import App, Call, PeerError, UsageError
from bothway.app.control import PlivoControl
from bothway.wire.callxml import parse
from bothway.wire.verbs import Dial, Hangup, Number, Speak, User, Verb

pytestmark = pytest.mark.virtual_time

SECOND = b"\x40" * 8000
OTHER = "1f6a1b9e-6d1c-4f0e-9b7e-3f5e2c7a1d10"


@asynccontextmanager
async def on_a_call(
    handler: Callable[[Call], Awaitable[object]], *, bare: bool = False, **options: object
) -> AsyncIterator[tuple[FakeRest, FakeCarrier, str]]:
    async with fake_rest() as rest:
        app = new_app(api_url=rest.url, **options)
        if bare:
            app.stream("/bare", handler)
        else:
            app.answer("/voice/answer", handler)
        async with served(app) as url:
            where = url.replace("http", "ws") + "/bare" if bare else (await ask(f"{url}/voice/answer")).stream.url
            async with dialled(where) as carrier:
                yield rest, carrier, url
                await carrier.until_closed()


async def fetched(rest: FakeRest, call: str = CALL) -> Answer:
    """The document that the last transfer leads to."""
    return await ask(rest.seen[-1].body["aleg_url"], answer_form(call))


@pytest.mark.parametrize(
    ("to", "options", "document"),
    [
        ("+14155550123", {}, (Dial((Number("+14155550123"),)),)),
        ("sip:desk@pbx.example", {"caller_id": "1415", "ring_timeout": 20},
         (Dial((User("sip:desk@pbx.example"),), caller_id="1415", timeout=20),)),
        ((Speak("One moment"), Hangup()), {}, (Speak("One moment"), Hangup())),
    ],
)  # fmt: skip
async def test_a_call_is_transferred_to_a_document_of_the_app(
    to: str, options: dict[str, object], document: tuple[Verb, ...]
) -> None:
    async def hand_on(call: Call) -> None:
        await call.play(SECOND)
        await call.transfer(to, **options)  # type: ignore[arg-type]

    async with on_a_call(hand_on) as (rest, carrier, url):
        assert await carrier.until_closed() == (1000, "")
        assert carrier.heard == SECOND
        assert rest.lines == [f"POST /Call/{CALL}/"]
        assert rest.seen[0].body["legs"] == "aleg"
        assert rest.seen[0].body["aleg_url"].startswith(f"{url}/bothway/document?document=")
        answer = await fetched(rest)
        assert answer.status == 200
        assert parse(answer.text).verbs == document
        assert answer.headers["Content-Type"].startswith("application/xml")
        assert (await fetched(rest)).status == 200  # the carrier may try again
        assert (await fetched(rest, OTHER)).status == 404
        assert (await ask(rest.seen[-1].body["aleg_url"], sign="another token")).status == 403
        await asyncio.sleep(301)
        assert (await fetched(rest)).status == 404
        assert (await ask(f"{url}/bothway/document")).status == 404


async def test_a_call_is_transferred_to_a_url() -> None:
    async def hand_on(call: Call) -> None:
        await call.play(SECOND)
        with pytest.raises(UsageError, match="for a number"):
            await call.transfer("https://b.example/x", caller_id="1")
        await call.transfer("https://b.example/next?a=1", after_playing=False)

    async with on_a_call(hand_on) as (rest, carrier, _):
        await carrier.until_closed()
        assert len(carrier.heard) < len(SECOND)
        assert rest.seen[0].body == {"legs": "aleg", "aleg_url": "https://b.example/next?a=1"}


async def test_a_transfer_that_is_refused_leaves_the_call_as_it_is() -> None:
    told: list[str] = []

    async def hand_on(call: Call) -> None:
        with pytest.raises(PeerError, match="gone") as caught:
            await call.transfer("1415")
        told.append(str(caught.value))
        await call.play(FRAME)

    async with on_a_call(hand_on) as (rest, carrier, _):
        rest.replies = [(404, {"error": "gone"})]
        await carrier.until_closed()
        assert carrier.heard == FRAME
        assert len(told) == 1


async def test_a_bare_stream_needs_to_know_where_its_app_is() -> None:
    told: list[str] = []

    async def hand_on(call: Call) -> None:
        try:
            await call.transfer("1415")
        except UsageError as error:
            told.append(str(error))

    async with on_a_call(hand_on, bare=True) as (rest, carrier, _):
        await carrier.until_closed()
        assert "BOTHWAY_PUBLIC_URL" in told[0]
    async with on_a_call(hand_on, bare=True, public_url="https://app.example", check_signatures=False) as made:
        rest, carrier, _ = made
        await carrier.until_closed()
        assert rest.seen[0].body["aleg_url"].startswith("https://app.example/bothway/document?")


async def test_a_document_too_long_for_a_url() -> None:
    control = PlivoControl(new_app().rest, b"secret")
    with pytest.raises(UsageError, match="too long"):
        await control.transfer(CALL, (Speak("x" * 3000),), "https://app.example")


async def test_a_call_is_recorded() -> None:
    async def record(call: Call) -> None:
        started = await call.record(file_format="wav")
        assert started.recording_id == "recording-1"
        await call.record(time_limit=9)
        await call.stop_recording()

    async with on_a_call(record) as (rest, carrier, _):
        await carrier.until_closed()
        assert rest.lines == [*[f"POST /Call/{CALL}/Record/"] * 2, f"DELETE /Call/{CALL}/Record/"]
        assert rest.seen[0].body == {"time_limit": 86400, "file_format": "wav"}
        assert rest.seen[1].body == {"time_limit": 9}


async def test_a_call_is_hung_up() -> None:
    async def leave(call: Call) -> None:
        await call.play(SECOND)
        await call.hangup()

    async with on_a_call(leave) as (rest, carrier, _):
        rest.replies = [(404, {"error": "call not found"})]
        await carrier.until_closed()
        assert carrier.heard == SECOND
        assert rest.lines == [f"DELETE /Call/{CALL}/"]


async def test_our_own_carrier_hangs_up(carrier: Any) -> None:
    app = App()  # of the account that the fixture sets in the environment

    @app.answer("/answer")
    async def leave(call: Call) -> None:
        await call.play(SECOND)
        await call.hangup()

    caller = await carrier.call(app, "/answer")
    assert (await caller.asked_by_rest("DELETE")).status == 204
    await caller.is_hung_up()
