"""Calls that the app places, by a REST API and a carrier's webhooks and streams that are played here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.app.fake_carrier import CALL, FRAME, FakeCarrier, answer_form, ask, dialled, new_app
from tests.app.fake_rest import FakeRest, Seen, fake_rest
from tests.serving import served

from bothway import App, Call, PeerError, UsageError
from bothway.app.dial import DIAL_GRACE, DialError
from bothway.app.rest_link import RestError
from bothway.wire.webhooks import HangupReport

pytestmark = pytest.mark.virtual_time

FROM, TO = "14155550100", "14155550199"
WRONG: dict[str, Any] = {"caller_nam": "x"}


@dataclass
class World:
    """An app and its carrier.

    Attributes:
        then: What the carrier does once it is asked to place a call: gets the call's answer URL.
        carriers: The streams that it opened.
    """

    app: App
    url: str
    rest: FakeRest
    then: Callable[[str], Coroutine[Any, Any, None]]
    carriers: list[FakeCarrier] = field(default_factory=list)
    placed: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def asked(self, seen: Seen) -> None:
        if seen.line == "POST /Call/":
            self.placed.set()
            self.tasks.append(asyncio.create_task(self.then(seen.body["answer_url"])))

    async def picks_up(self, answer_url: str) -> None:
        answer = await ask(answer_url, answer_form() | {"Direction": "outbound", "From": FROM, "To": TO})
        async with dialled(answer.stream.url) as carrier:
            self.carriers.append(carrier)
            self.opened.set()
            await carrier.until_closed()

    async def hangs_up(self, answer_url: str, **more: str) -> None:
        form = {"CallUUID": CALL, "Event": "Hangup", "RequestUUID": CALL, "To": TO, "Direction": "outbound"}
        assert (await ask(answer_url, form | more)).status == 200

    async def dial(self, **options: Any) -> Call:
        return await self.app.dial(TO, FROM, app_url=self.url + "/", **options)


async def nothing(_: str) -> None:
    pass


async def unused(_: Call) -> None:
    pass


@asynccontextmanager
async def world(then: Any = nothing) -> AsyncIterator[World]:
    async with fake_rest() as rest:
        app = new_app(api_url=rest.url)
        async with served(app) as url:
            one = World(app, url, rest, nothing)
            one.then = getattr(one, then) if isinstance(then, str) else then
            rest.on_request = one.asked
            yield one
            await app.stop(0.0)
            await asyncio.gather(*one.tasks)


@pytest.mark.usefixtures("both_times")
async def test_a_call_is_placed_and_talks() -> None:
    async with world("picks_up") as w:
        call = await w.dial(ring_timeout=20, caller_name="Shop")
        assert (call.id, call.direction, call.from_, call.to) == (CALL, "outbound", FROM, TO)
        (carrier,) = w.carriers
        await call.play(FRAME)
        await call.played()
        assert carrier.heard == FRAME
        await carrier.say(FRAME)
        assert await anext(call.audio()) == FRAME
        await call.hangup()
        call.stop_stream()
        await carrier.until_closed()
        sent = w.rest.seen[0].body
        assert sent["answer_url"] == sent["hangup_url"]
        assert sent["answer_url"].startswith(f"{w.url}/bothway/dial?dial=")
        assert (sent["from"], sent["to"], sent["ring_timeout"], sent["caller_name"]) == (FROM, TO, 20, "Shop")
        assert w.rest.lines == ["POST /Call/", f"DELETE /Call/{CALL}/"]


async def test_the_stream_may_come_before_the_answer_to_the_request() -> None:
    async with world("picks_up") as w:
        w.rest.before_reply = w.opened.wait
        call = await w.dial()
        assert call.id == CALL
        call.stop_stream()
        await w.carriers[0].until_closed()


@pytest.mark.parametrize(
    ("told", "status", "words"),
    [
        ({"CallStatus": "busy", "HangupCauseCode": "3010", "HangupCauseName": "Busy Line"}, "busy",
         r"came to nothing: busy: Busy Line \(3010\)"),
        ({"CallStatus": "no-answer", "HangupCause": "NO_ANSWER", "HangupCauseCode": "3000"}, "no-answer",
         r"no-answer: No Answer \(3000\)"),
        ({"CallStatus": "completed", "AnswerTime": "2026-01-01 00:00:00", "HangupCauseCode": "7011"}, "completed",
         r"was answered and ended before its stream: .*7011"),
    ],
)  # fmt: skip
async def test_nobody_answers(told: dict[str, str], status: str, words: str) -> None:
    async with world() as w:
        reports: list[HangupReport] = []

        @w.app.on_hangup
        async def hangup(report: HangupReport) -> None:
            reports.append(report)

        w.then = lambda url: w.hangs_up(url, **told)
        with pytest.raises(DialError, match=words) as caught:
            await w.dial()
        assert caught.value.status == status
        assert caught.value.cause is not None
        assert caught.value.cause.code == int(told["HangupCauseCode"])
        await asyncio.sleep(0.1)
        assert [report.status for report in reports] == [status]
        assert w.rest.lines == ["POST /Call/"]


async def test_the_wait_ends_and_with_it_the_call() -> None:
    async with world() as w:
        before = asyncio.get_running_loop().time()
        with pytest.raises(DialError, match="no stream after 50 s") as caught:
            await w.dial(ring_timeout=20)
        assert caught.value.status == "timeout"
        assert asyncio.get_running_loop().time() - before == pytest.approx(20 + DIAL_GRACE)
        await asyncio.sleep(0.1)
        assert w.rest.lines == ["POST /Call/", "DELETE /Request/call-1/"]


async def test_whoever_stops_waiting_cancels_the_call() -> None:
    async with world() as w:
        waiting = asyncio.create_task(w.dial())
        await w.placed.wait()
        w.rest.replies = [(201, {"request_uuid": "call-1"}), (404, {"error": "not queued"})]
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0.5)
        # No request any more, but a call by now.
        assert w.rest.lines[-1].startswith("DELETE /")
        # A stream that comes all the same is closed.
        w.tasks.append(asyncio.create_task(w.picks_up(w.rest.seen[0].body["answer_url"])))
        await asyncio.sleep(0.5)
        assert w.carriers[0].closed is not None


async def test_a_request_that_became_a_call_is_hung_up() -> None:
    async with world() as w:
        w.rest.replies = [(201, {"request_uuid": "call-1"}), (404, {"error": "not queued"})]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await w.dial()
        await asyncio.sleep(0.1)
        assert w.rest.lines == ["POST /Call/", "DELETE /Request/call-1/", "DELETE /Call/call-1/"]


async def test_a_call_that_comes_in_the_moment_in_which_nobody_wants_it_any_more() -> None:
    async with world("picks_up") as w:
        call = await w.dial()
        w.then = nothing
        waiting = asyncio.create_task(w.dial())
        await asyncio.sleep(0)
        (future,) = w.app._dials._waiting.values()
        future.set_result(call)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0.1)
        assert sorted(w.rest.lines) == [f"DELETE /Call/{CALL}/", "POST /Call/", "POST /Call/"]
        call.stop_stream()


async def test_the_carrier_refuses() -> None:
    async with world() as w:
        w.rest.replies = [(403, {"error": "Calls to this destination region are barred"})]
        with pytest.raises(RestError, match="region are barred") as caught:
            await w.dial()
        assert caught.value.status == 403


async def test_the_app_stops() -> None:
    async with world() as w:
        waiting = asyncio.create_task(w.dial())
        await w.placed.wait()
        await asyncio.sleep(0.1)
        await w.app.stop(0.0)
        with pytest.raises(DialError, match="stopping"):
            await waiting
        assert w.rest.lines[1:] == ["DELETE /Request/call-1/"]
        with pytest.raises(UsageError, match="stopping"):
            await w.dial()


async def test_what_cannot_work() -> None:
    app = new_app()
    with pytest.raises(UsageError, match="BOTHWAY_PUBLIC_URL"):
        await app.dial(TO, FROM)
    with pytest.raises(UsageError, match="hangup_url itself"):
        await app.dial(TO, FROM, app_url="http://a", hangup_url="http://b/")
    with pytest.raises(UsageError, match="did you mean"):
        await app.dial(TO, FROM, app_url="http://a", **WRONG)
    with pytest.raises((UsageError, PeerError), match="PLIVO_AUTH_ID"):
        await new_app(auth_id="").dial(TO, FROM, app_url="http://a")
    await app.stop(0.0)


async def test_its_own_route_is_no_handler_of_the_user_s() -> None:
    app = new_app()
    with pytest.raises(UsageError, match="0 are registered"):
        app._routes.only_handler()
    with pytest.raises(UsageError, match="is taken"):
        app.answer("/bothway/dial", unused)
