"""The app's half of call control against the carrier's: `app.dial`, and every method of `VoiceApi`, over the wire.

Both ends are ours and share no code but the wire's: what one writes, the other has to read.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from tests.testing.apps import said, say, sentences

from bothway import App, Call
from bothway.app.dial import DialError
from bothway.app.rest import Applications, Calls, Conferences, Numbers, Recordings, VoiceApi
from bothway.app.rest_link import RestError
from bothway.audio.format import L16_8K
from bothway.audio.wav import read_wav, write_wav
from bothway.carrier.carrier import Carrier
from bothway.carrier.config import Account, Application, Config, Number, RentableNumber
from bothway.testing.callee import Callee
from bothway.testing.expectation import CallFailedError
from bothway.testing.lab import LabCarrier
from bothway.wire.verbs import Speak

FROM, JO, KIM = "15550100", "15550123", "15550124"

BOTH_PROFILES = pytest.mark.parametrize(
    "profile", [pytest.param(name, marks=pytest.mark.carrier(profile=name)) for name in ("documented", "live")]
)


async def new_app(carrier: LabCarrier) -> App:
    """An app that the carrier reaches."""
    app = App(public_url="https://app.test", api_url=carrier.api_url)
    await carrier.serve(app)
    return app


async def answered(dialled: Coroutine[Any, Any, Call], callee: Callee) -> Call:
    """The app's end of a call that the callee answers."""
    dialling = asyncio.create_task(dialled)
    await callee.answers(after=1)
    return await dialling


async def next_sentence(call: Call) -> str:
    return await anext(sentences(call))


# --- dialling -----------------------------------------------------------------------------------------------------


@BOTH_PROFILES
async def test_an_app_calls_somebody_and_talks(carrier: LabCarrier, profile: str) -> None:
    app, jo = await new_app(carrier), carrier.callee(JO)
    call = await answered(app.dial(f"+{JO}", FROM, caller_name="Bakery", sip_headers={"tenant": "42"}), jo)
    summons = await jo.is_called()
    assert (summons.from_, summons.to, summons.caller_name) == (FROM, JO, "Bakery")
    assert dict(summons.headers) == {"X-PH-tenant": "42"}
    assert (call.id, call.direction, call.from_, call.to) == (jo.call_id, "outbound", FROM, JO)

    await say(call, "Your bread is ready.")
    await jo.hears("your bread is ready").within(4)
    heard = asyncio.create_task(next_sentence(call))
    await jo.say("I am coming")
    assert await heard == "I am coming"
    call.send_dtmf("7")
    await jo.hears_digits("7").within(1)
    await jo.press("5")
    assert await anext(call.dtmf()) == "5"

    await say(call, "Goodbye.")
    await call.hangup()
    await call.ended
    end = await jo.is_hung_up().within(2)
    assert (end.number("code"), end.text("source")) == (4000, "API Request")
    assert jo.heard_text.endswith("Goodbye."), "hangup() waits until it is heard"
    assert app.live_calls == 0
    record = await app.rest.calls.get(call.id)
    assert (record.call_state, record.call_direction, record.hangup_cause_code) == ("ANSWERED", "outbound", 4000)
    assert (record.from_number, record.to_number, record.billed_duration) == (FROM, JO, 60)


async def test_it_records_what_is_said(carrier: LabCarrier, tmp_path: Path) -> None:
    app, jo = await new_app(carrier), carrier.callee(JO)
    call = await answered(app.dial(JO, FROM), jo)
    started = await call.record(file_format="wav", record_channel_type="stereo")
    await say(call, "Hello Jo")
    await jo.hears("hello jo").within(3)
    await call.stop_recording()
    path = tmp_path / "call.wav"
    await _until_there(app, started.recording_id)
    assert await app.rest.recordings.download(started.recording_id, path) == path.stat().st_size
    fmt, audio = read_wav(path)
    assert fmt.rate == 8000
    assert any(audio), "it is not silence"
    await jo.hangs_up()
    await call.ended


async def test_the_stream_ends_and_the_document_goes_on(carrier: LabCarrier) -> None:
    """`stop_stream` closes the stream, not the call: here nothing stands behind it."""
    app, jo = await new_app(carrier), carrier.callee(JO)
    call = await answered(app.dial(JO, FROM), jo)
    call.stop_stream()
    await call.ended
    end = await jo.is_hung_up().within(2)
    assert end.number("code") == 4010


@BOTH_PROFILES
async def test_it_hands_the_callee_on(carrier: LabCarrier, profile: str) -> None:
    app, jo, kim = await new_app(carrier), carrier.callee(JO), carrier.callee(KIM)
    call = await answered(app.dial(JO, FROM), jo)
    await say(call, "One moment.")
    await asyncio.gather(call.transfer(KIM, caller_id="15550199", ring_timeout=20), kim.answers(after=2))
    await call.ended
    assert (await kim.is_called()).from_ == "15550199"
    assert jo.heard_text.startswith("One moment.")
    await jo.say("Is that Kim?")
    await kim.hears("is that kim").within(2)
    await kim.say("It is")
    await jo.hears("it is").within(2)
    await kim.hangs_up()
    await jo.is_hung_up().within(2)


async def test_it_hands_a_caller_on_to_a_document(carrier: LabCarrier) -> None:
    app = await new_app(carrier)

    @app.answer("/answer")
    async def desk(call: Call) -> None:
        await call.transfer([Speak("We are closed.")])

    caller = await carrier.call(app)
    await caller.hears("we are closed").within(4)
    assert (await caller.is_hung_up()).number("code") == 4010


@pytest.mark.parametrize(
    ("code", "status", "name"),
    [
        (3010, "busy", "Busy Line"),
        (3020, "failed", "Rejected"),
        (3000, "no-answer", "No Answer"),
        (3050, "failed", "Unallocated number"),
        (5000, "failed", "Network Error"),
    ],
)
async def test_nobody_answers(carrier: LabCarrier, code: int, status: str, name: str) -> None:
    app, jo = await new_app(carrier), carrier.callee(JO)
    refused, _ = await asyncio.gather(app.dial(JO, FROM), jo.refuses(code, after=1), return_exceptions=True)
    assert isinstance(refused, DialError)
    assert refused.cause is not None
    assert (refused.status, refused.cause.code, refused.cause.name) == (status, code, name)


async def test_it_rings_in_vain(carrier: LabCarrier) -> None:
    app, jo = await new_app(carrier), carrier.callee(JO)
    with pytest.raises(DialError) as caught:
        await app.dial(JO, FROM, ring_timeout=10)
    assert caught.value.status == "timeout"
    assert caught.value.cause is not None
    assert caught.value.cause.code == 6010
    with pytest.raises(CallFailedError, match="gave up"):
        await jo.answers()


async def test_who_stops_waiting_cancels_the_call(carrier: LabCarrier) -> None:
    app, jo = await new_app(carrier), carrier.callee(JO)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3):
            await app.dial(JO, FROM)
    end = await jo.is_hung_up().within(2)
    assert (end.number("code"), end.text("source")) == (1000, "API Request")


async def test_the_carrier_does_not_reach_the_app(carrier: LabCarrier) -> None:
    app, jo = await new_app(carrier), carrier.callee(JO)
    refused, _ = await asyncio.gather(
        app.dial(JO, FROM, app_url="https://app.test/elsewhere"), jo.answers(), return_exceptions=True
    )
    assert isinstance(refused, DialError)
    assert (await jo.is_hung_up()).number("code") == 7011


async def test_the_carrier_says_no(carrier: LabCarrier) -> None:
    app = await new_app(carrier)
    with pytest.raises(RestError, match="to is not numbers") as caught:
        await app.dial("nobody", FROM)
    assert caught.value.status == 400


# --- every method -------------------------------------------------------------------------------------------------


class Used:
    """A part of `VoiceApi` that knows which of its methods were used."""

    def __init__(self, part: object) -> None:
        self._part = part
        self.names_used: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.names_used.add(name)
        return getattr(self._part, name)


def all_of(part: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(part, inspect.iscoroutinefunction) if name[0] != "_"}


def site(documents: dict[str, str], audio: bytes = b"") -> FastAPI:
    """A server of documents, of one sound, and of what else is asked for."""
    pages = FastAPI()

    @pages.api_route("/{path:path}", methods=["GET", "POST"])
    async def answer(path: str, request: Request) -> Response:
        if path == "hello.wav":
            return Response(audio, media_type="audio/wav")
        return Response(f"<Response>{documents.get(path, '')}</Response>", media_type="application/xml")

    return pages


async def sound(text: str, folder: Path) -> bytes:
    path = folder / "said.wav"
    write_wav(path, L16_8K, await said(text, L16_8K))
    return path.read_bytes()


async def _until_there(app: App, recording_id: str) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await app.rest.recordings.get(recording_id)
            except RestError:
                await asyncio.sleep(0.1)
            else:
                return


async def test_calls_streams_and_recordings(carrier: LabCarrier, tmp_path: Path) -> None:
    app = await new_app(carrier)
    calls, recordings = Used(app.rest.calls), Used(app.rest.recordings)
    pages = await carrier.serve(
        site({"wait": '<Wait length="600"/>', "bye": "<Speak>Bye bye</Speak>"}, await sound("ding dong", tmp_path))
    )

    @app.stream("/media")
    async def media(call: Call) -> None:
        await call.ended

    # Queued: the third and the fourth of one second wait, and one of them is cancelled.
    people = [carrier.callee(number) for number in (JO, KIM)]
    fired = await calls.create([JO, KIM, "15550125", "15550126"], FROM, f"{pages}/wait", idempotency_key="a key")
    assert await calls.create([JO, KIM, "15550125", "15550126"], FROM, f"{pages}/wait", idempotency_key="a key") == (
        fired
    ), "one request, however often it is sent"
    first, second, third, fourth = fired.request_ids
    assert third in await calls.queued_ids()
    queued = await calls.queued(fourth)
    assert (queued.call_status, queued.to, queued.request_uuid) == ("queued", "15550126", fourth)
    await calls.cancel(third)
    await calls.cancel(fourth)
    await asyncio.gather(*(one.answers(after=0.5) for one in people))
    jo, _ = people
    await jo.stays_silent(0.5)

    assert set(await calls.live_ids()) == {first, second}
    live = await calls.live(first)
    assert (live.call_status, live.direction, live.from_, live.to) == ("in-progress", "outbound", FROM, JO)
    assert live.session_start is not None
    with pytest.raises(RestError, match="status=live"):
        await calls.get(first)

    # What is done to it.
    assert (await calls.play(first, f"{pages}/hello.wav")).message == "play started"
    await jo.hears("ding dong").within(3)
    await calls.play(first, [f"{pages}/hello.wav", f"{pages}/hello.wav"], loop=True, mix=False, length=60)
    await jo.hears("ding").within(3)
    await calls.stop_playing(first)
    await calls.speak(first, "Hello Jo", voice="Polly.Amy", language="en-GB")
    await jo.hears("hello jo").within(3)
    await calls.speak(first, "again and again", loop=True)
    await jo.hears("again and again").within(3)
    await calls.stop_speaking(first)
    await calls.send_digits(first, "1w2#")
    await jo.hears_digits("12#").within(3)

    # Streams.
    url = "wss://app.test/media"
    started = await calls.start_stream(first, url, bidirectional=True, extra_headers={"a": "1"}, stream_timeout=600)
    await jo.logged("stream_started", stream_id=started.stream_id).within(2)
    stream = await calls.stream(first, started.stream_id)
    assert (stream.service_url, stream.bidirectional, stream.call_uuid) == (url, True, first)
    assert (stream.end_time, stream.content_type) == (None, "audio/x-mulaw;rate=8000")
    await jo.stays_silent(0.5)
    await calls.stop_stream(first, started.stream_id)
    await jo.logged("stream_ended", stream_id=started.stream_id).within(2)
    again = await calls.start_stream(first, url, noise_cancellation="false")
    await jo.logged("stream_started", stream_id=again.stream_id).within(2)
    await jo.stays_silent(0.5)
    await calls.stop_stream(first)
    await jo.logged("stream_ended", stream_id=again.stream_id).within(2)
    page = await calls.streams(first)
    assert {one.stream_id for one in page.objects} == {started.stream_id, again.stream_id}
    assert page.total == 2
    assert all(one.end_time is not None and one.rounded_bill_duration == 60 for one in page.objects)

    # Recordings, of what the carrier says.
    recorded = await calls.record(first, file_format="wav")
    await jo.stays_silent(1)
    await calls.stop_recording(first)
    await _until_there(app, recorded.recording_id)
    recording = await recordings.get(recorded.recording_id)
    assert (recording.call_uuid, recording.recording_format) == (first, "wav")
    assert recording.recording_duration_ms is not None
    assert 980 <= recording.recording_duration_ms <= 1100
    listed = await recordings.list(call_uuid=first, add_time__gte=datetime.now(UTC) - timedelta(hours=1))
    assert [one.recording_id for one in listed.objects] == [recorded.recording_id]
    path = tmp_path / "recording.wav"
    assert await recordings.download(recording, path) > 44
    await recordings.delete(recorded.recording_id)
    with pytest.raises(RestError, match="not found"):
        await recordings.get(recorded.recording_id)

    # The end, and what is known of it.
    await calls.transfer(first, aleg_url=f"{pages}/bye")
    await jo.hears("bye bye").within(3)
    await jo.is_hung_up()
    await calls.hangup(second)
    await calls.hangup(second)
    await calls.hangup_all()
    record = await calls.get(first)
    assert (record.call_state, record.hangup_cause_code, record.to_number) == ("ANSWERED", 4010, JO)
    ended = await calls.list(call_direction="outbound", end_time__gte=datetime.now(UTC) - timedelta(hours=1))
    assert {one.call_uuid for one in ended.objects} == {first, second, third, fourth}
    assert (ended.total, ended.next_offset) == (4, None)
    assert (await calls.list(limit=3)).next_offset == 3
    assert (calls.names_used, recordings.names_used) == (all_of(Calls), all_of(Recordings))


async def test_conferences(carrier: LabCarrier, tmp_path: Path) -> None:
    api = (await new_app(carrier)).rest
    conferences = Used(api.conferences)
    pages = site(
        {"answer": "<Conference>My Room</Conference><Speak>After all</Speak>", "other": "<Conference>o</Conference>"},
        await sound("ding dong", tmp_path),
    )
    ada, ben, eve = [await carrier.call(pages) for _ in range(3)]
    url = await carrier.serve(pages)
    await carrier.call(pages, "/other")
    assert await conferences.names() == ("My Room", "o")
    room = await conferences.get("My Room")
    assert (room.conference_name, room.conference_member_count) == ("My Room", 3)
    assert [one.call_uuid for one in room.members] == [ada.call_id, ben.call_id, eve.call_id]
    a, b, e = (one.member_id for one in room.members)
    assert [(one.muted, one.deaf, one.direction) for one in room.members] == [(False, False, "inbound")] * 3

    await conferences.mute("My Room", f"{a},{b}")
    await conferences.deafen("My Room", b)
    assert [(one.muted, one.deaf) for one in (await conferences.get("My Room")).members] == [
        (True, False),
        (True, True),
        (False, False),
    ]
    await conferences.mute("My Room", "all", on=False)
    await conferences.deafen("My Room", b, on=False)
    await ada.say("Can you hear me")
    await ben.hears("can you hear me").within(2)

    await conferences.play("My Room", a, f"{url}/hello.wav")
    await ada.hears("ding dong").within(3)
    await conferences.stop_playing("My Room", a)
    await conferences.speak("My Room", a, "only you", voice="MAN", language="en-GB")
    await ada.hears("only you").within(3)
    await conferences.stop_speaking("My Room", "all")

    recorded = await conferences.record("My Room", file_format="wav")
    assert recorded.recording_id in recorded.url
    await ada.stays_silent(1)
    await conferences.stop_recording("My Room")

    await conferences.kick("My Room", b)
    await ben.hears("after all").within(3)
    await conferences.hangup_member("My Room", e)
    await eve.is_hung_up()
    assert (await conferences.get("My Room")).conference_member_count == 1
    await conferences.hangup("My Room")
    await ada.is_hung_up()
    assert await conferences.names() == ("o",)
    await conferences.hangup_all()
    assert await conferences.names() == ()
    assert conferences.names_used == all_of(Conferences)


@pytest.mark.virtual_time
async def test_accounts_applications_and_numbers() -> None:
    account = Account("MAEXAMPLEEXAMPLE0001", "an-example-token", name="Bakery", timezone="Europe/Paris")
    config = Config(
        accounts=(account,),
        applications=(Application("desk", "https://app.test/answer"),),
        numbers=(Number("+15550100", "desk"),),
        inventory=(
            RentableNumber("14155550123", "US", region="California"),
            RentableNumber("18005550123", "US", type="tollfree"),
            RentableNumber("912212345678", "IN"),
        ),
    )
    async with Carrier(config=config) as carrier:
        api = VoiceApi(carrier.url + "/v1", account.auth_id, account.auth_token)
        known = await api.account()
        assert (known.auth_id, known.name, known.timezone) == (account.auth_id, "Bakery", "Europe/Paris")

        applications = Used(api.applications)
        app_id = await applications.create("bookings", answer_url="https://app.test/book", answer_method="GET")
        found = await applications.get(app_id)
        assert (found.app_name, found.answer_url, found.answer_method) == ("bookings", "https://app.test/book", "GET")
        await applications.update(app_id, hangup_url="https://app.test/over", default_number_app=True)
        assert (await applications.get(app_id)).hangup_url == "https://app.test/over"
        listed = await applications.list(app_name="book")
        assert [one.app_id for one in listed.objects] == [app_id]

        numbers = Used(api.numbers)
        assert [one.number for one in (await numbers.list()).objects] == ["15550100"]
        offered = await numbers.search("us", type="local", pattern="415", services="voice")
        assert [one.number for one in offered.objects] == ["14155550123"]
        await numbers.buy("14155550123")
        mine = await numbers.get("+14155550123")
        assert mine.application.endswith(f"/Application/{app_id}/"), "the default application"
        await numbers.update("14155550123", alias="front desk")
        assert [one.alias for one in (await numbers.list(alias="front desk")).objects] == ["front desk"]
        with pytest.raises(RestError, match="not in 'accepted' status") as caught:
            await numbers.buy("912212345678")
        assert caught.value.status == 403
        await numbers.delete("14155550123")
        with pytest.raises(RestError, match="number not found"):
            await numbers.get("14155550123")

        await applications.delete(app_id)
        assert app_id not in [one.app_id for one in (await applications.list()).objects]
        await api.close()
        assert (applications.names_used, numbers.names_used) == (all_of(Applications), all_of(Numbers))
