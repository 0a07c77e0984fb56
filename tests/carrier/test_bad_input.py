"""What the other side gets wrong: each has a clear error that names who did it, and a call that is accounted for."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.carrier.world import Caller, Request, Socket, World, page, until, world
from websockets.utils import accept_key

from bothway.audio.format import MULAW_8K
from bothway.core.profile import DOCUMENTED, LIVE, Profile
from bothway.runtime.http import HttpClient

pytestmark = pytest.mark.virtual_time


LOUD = b"\x11" * 160

# --- messages -----------------------------------------------------------------------------------------------------


def media(payload: object, content_type: object = "audio/x-mulaw", rate: object = 8000) -> str:
    return json.dumps(
        {"event": "playAudio", "media": {"contentType": content_type, "sampleRate": rate, "payload": payload}}
    )


BAD_MESSAGES = [
    ("{not json", "not-json", "json"),
    ("[1, 2]", "not-json", "json"),
    ("\x00", "not-json", "json"),
    ("[" * 30_000, "not-json", "json"),
    ('{"media": {}}', "no-event", "schema"),
    ('{"event": 7}', "no-event", "schema"),
    ('{"event": "dance"}', "unknown-event", "unknown"),
    ('{"event": "PLAYAUDIO"}', "unknown-event", "unknown"),
    ('{"event": "playStream"}', "play-stream", "unknown"),
    ('{"event": "media", "media": {}}', "twilio-media", "unknown"),
    ('{"event": "mark", "mark": {"name": "x"}}', "twilio-mark", "unknown"),
    ('{"event": "clear"}', "twilio-clear", "unknown"),
    ('{"event": "playAudio"}', "wrong-type", "schema"),
    ('{"event": "playAudio", "media": []}', "wrong-type", "schema"),
    (media(7), "wrong-type", "schema"),
    (media("AAAA", 7), "wrong-type", "schema"),
    ('{"event": "checkpoint"}', "wrong-type", "schema"),
    ('{"event": "checkpoint", "name": {}}', "wrong-type", "schema"),
    (json.dumps({"event": "checkpoint", "name": "n" * 2000}), "long-name", "schema"),
    ('{"event": "sendDTMF", "dtmf": "12x"}', "bad-digit", "schema"),
    (media("!!!!"), "bad-base64", "audio"),
    (media("AAAAA"), "bad-base64", "audio"),
    (media("AAAA", "audio/mp3"), "bad-format", "audio"),
    (media("AAAA", "audio/x-l16", 11025), "bad-format", "audio"),
    (media("AAAA", "audio/x-l16"), "odd-bytes", "audio"),
]


@pytest.mark.parametrize(("message", "code", "reason"), BAD_MESSAGES, ids=range(len(BAD_MESSAGES)))
async def test_a_bad_message_is_named_and_the_stream_goes_on(
    tmp_path: Path, message: str, code: str, reason: str
) -> None:
    async def app(socket: Socket) -> None:
        await socket.until("media")
        await socket.connection.send(message)
        await socket.connection.send(message)
        await socket.play(LOUD)
        await socket.send(event="checkpoint", name="still here")
        await socket.until("playedStream")

    async with world(tmp_path, app) as w:
        caller = await w.call(w.stream())
        w.check_accounted(caller, 4010, "Plivo")
        assert caller.heard.count(LOUD) == 1
        mistake, *more = [record for record in w.log(caller) if record["event"] == "mistake"]
        assert mistake["code"] == code
        assert not more, "one record a kind, so that a log stays small"
        assert len(mistake["text"]) < 400
        assert [record["count"] for record in w.log(caller) if record["event"] == "mistakes"] == [2]
        assert w.metric("bothway_ws_bad_messages_total", reason=reason) == 2
        assert caller.ran_to_end, "a mistake of the app's is no failure of the call"


async def test_a_binary_message(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await socket.connection.send(b"\x00" * 160)
        await socket.until("media", 3)

    async with world(tmp_path, app) as w:
        caller = await w.call(w.stream())
        w.check_accounted(caller, 4010)
        assert "the app sent a binary message of 160 bytes" in str(caller.events("mistake")[0]["text"])
        assert w.metric("bothway_ws_bad_messages_total", reason="binary") == 1


async def test_audio_on_a_one_way_stream_is_not_played(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await socket.play(LOUD * 5)
        await socket.send(event="checkpoint", name="x")
        await socket.send(event="clearAudio")
        await socket.until("media", 10)

    async with world(tmp_path, app) as w:
        caller = await w.call(w.stream(bidirectional="TRUE"))
        w.check_accounted(caller, 4010)
        assert set(caller.heard) == {MULAW_8K.silent_frame}
        assert "PlayAudio on a one-way stream" in str(caller.events("mistake")[0]["text"])
        assert any("TRUE" in str(remark["text"]) for remark in caller.events("remark")), "what was written by mistake"
        assert not w.streams.sockets[0].all("playedStream") + w.streams.sockets[0].all("clearedAudio")


async def test_a_message_of_65_kb_ends_the_stream(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await socket.until("start")
        await socket.connection.send(media("A" * 65_536))
        await socket.closed.wait()

    async with world(tmp_path, app) as w:
        caller = await w.call(w.stream(statusCallbackUrl=w.site.url + "/status"))
        w.check_accounted(caller, 4010)
        assert not caller.ran_to_end
        ended = caller.events("stream_ended")[0]
        assert ended["failed"]
        assert "the app's message of" in str(ended["text"])
        assert "over the limit of 65536" in str(ended["text"])
        assert w.streams.sockets[0].close_code == 1009
        assert w.site.events("/status") == ["started", "failed"]
        assert w.site.asked("/status")[1].params["StatusReason"] == "buffer_overflow"
        assert w.metric("bothway_ws_bad_messages_total", reason="size") == 1
        assert w.metric("bothway_streams_total", outcome="dropped") == 1


async def test_a_message_of_64_kb_is_played(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await socket.until("start")
        await socket.play(LOUD * 300)  # 48,000 bytes of audio are 64,000 of base64
        await socket.until("media", 3)

    async with world(tmp_path, app) as w:
        caller = await w.call(w.stream())
        w.check_accounted(caller, 4010)
        assert LOUD in caller.heard
        assert caller.ran_to_end
        assert caller.events("dropped"), "what was queued when the app closed is on record"


async def test_more_than_the_queue_holds_is_refused_whole_and_told(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await socket.until("start")
        await socket.play(LOUD * 10)
        await socket.play(b"\x22" * 160 * 10)
        await socket.send(event="checkpoint", name="end")
        await socket.until("playedStream")

    async with world(tmp_path, app, limits={"playout_seconds": 0.3}) as w:
        caller = await w.call(w.stream())
        w.check_accounted(caller, 4010)
        assert caller.heard.count(LOUD) == 10
        assert b"\x22" * 160 not in caller.heard
        assert [record["ms"] for record in caller.events("refused")] == [200.0]
        assert w.metric("bothway_playout_refused_chunks_total") == 1


# --- sockets ------------------------------------------------------------------------------------------------------


async def test_an_app_that_never_sends(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        caller, _ = w.place(w.stream())
        socket = await w.streams.first()
        await socket.until("media", 5)
        caller.hang_up()
        await w.over(caller)
        w.check_accounted(caller, 4000, "Caller")
        assert caller.ran_to_end


@asynccontextmanager
async def deaf_app() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """An app that takes streams and never reads: where it is, and what lets go of them in the end."""
    silent = asyncio.Event()

    async def never_reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept_key(key).encode() + b"\r\n\r\n"
        )
        await silent.wait()
        writer.transport.abort()

    listener = sockets.socket()
    listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    async with await asyncio.start_server(never_reads, sock=listener, limit=1024):
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/", silent


@pytest.mark.parametrize("seconds", [40.0, pytest.param(0.5, marks=pytest.mark.real_sockets)])
async def test_an_app_that_never_reads_is_warned_about_and_dropped(tmp_path: Path, seconds: float) -> None:
    limits = {"slow_reader_seconds": seconds}
    async with deaf_app() as (url, silent), world(tmp_path, profile=LIVE, limits=limits) as w:
        caller = await w.call(w.stream(url=url, statusCallbackUrl=w.site.url + "/status"))
        silent.set()
        w.check_accounted(caller, 4010)
        assert [record["percent"] for record in caller.events("stream_degraded")] == [30, 60, 90]
        assert w.site.events("/status") == ["StartStream", *["DegradedStream"] * 3, "DroppedStream"]
        assert w.site.asked("/status")[1].params["Error"] == "connection degraded"
        assert f"the app did not read for {seconds:g} s of audio" in str(caller.events("stream_ended")[0]["text"])
        assert not caller.ran_to_end
        assert w.metric("bothway_streams_degraded_total") == 3


# --- answer URLs --------------------------------------------------------------------------------------------------


async def slowly(request: Request) -> bytes:
    await asyncio.sleep(60)
    return b""


async def in_circles(request: Request) -> bytes:
    return page(b"", "302 Found", f"Location: /answer?again={request.url.count('x')}x")


BILLION_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">'
    + "".join(f'<!ENTITY lol{n} "{f"&lol{n - 1 if n > 1 else str()};" * 10}">' for n in range(1, 10))
    + "]><Response><Speak>&lol9;</Speak></Response>"
)
TOO_LONG = "<Response><Speak>" + "x" * (101 * 1024) + "</Speak></Response>"

BAD_ANSWERS = [
    (slowly, 7011, "gave no document within 15 s"),
    (in_circles, 7011, "redirects"),
    (page(b"boom", "500 Internal Server Error"), 7011, "answered 500"),
    (page(b"gone", "404 Not Found"), 7011, "answered 404"),
    (b"ICY 200 OK\r\n\r\n", 7011, "sent no HTTP"),
    (page("<html><body>Hello</body></html>"), 8011, "HTML"),
    (page("<!DOCTYPE html><html></html>"), 8011, ""),
    (page(b""), 8011, "empty"),
    (page(b"   \n"), 8011, "empty"),
    (page('{"Response": {}}'), 8011, ""),
    (page("plain text"), 8011, ""),
    (page("<Response><Speak>one & two</Speak></Response>"), 8011, "line 1"),
    (page("<Response><Speak>never closed</Response>"), 8011, "line 1"),
    (page(TOO_LONG), 8011, ""),
    (page(b"x" * (1024 * 1024 + 1)), 7011, "more than 1048576 bytes"),
    (page(BILLION_LAUGHS), 8011, ""),
    (page("<Answer/>"), 8011, "Response"),
    (page("<Response>" * 300 + "</Response>" * 300), 8011, ""),
    (page("<Response><Say>Hello</Say></Response>"), 8011, ""),
    (page(b"\xff\xfe\xfd"), 8011, ""),
]


@pytest.mark.parametrize(("document", "code", "text"), BAD_ANSWERS, ids=range(len(BAD_ANSWERS)))
async def test_a_bad_answer(tmp_path: Path, document: bytes, code: int, text: str) -> None:
    async with world(tmp_path) as w:
        caller = await w.call(document)
        detail = w.check_accounted(caller, code, "Error")
        assert text in detail
        assert detail == caller.detail
        assert len(detail) < 400
        assert not caller.is_answered
        assert w.site.asked("/hangup")[0].params["CallStatus"] == "failed"
        assert w.site.asked("/hangup")[0].params["AnswerTime"] == ""


async def test_an_answer_url_where_nobody_listens(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        caller = await w.call(page(b""), answer_url="http://127.0.0.1:1/answer?secret=1")
        detail = w.check_accounted(caller, 7011, "Error")
        assert "http://127.0.0.1:1/answer?… could not be connected to" in detail
        assert w.metric("bothway_http_fetches_total", kind="answer", outcome="unreachable") == 1


@pytest.mark.parametrize(
    "url", ["nonsense", "http://", "ftp://127.0.0.1/", "http://[::1", "http://a b/", "http://h:x/"]
)
async def test_an_answer_url_that_is_none(tmp_path: Path, url: str) -> None:
    async with world(tmp_path) as w:
        caller = await w.call(page(b""), answer_url=url)
        assert "no http or https URL" in w.check_accounted(caller, 7011, "Error")


async def test_an_empty_response_is_answered_and_ends(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        caller = await w.call(page("<Response/>"))
        w.check_accounted(caller, 4010, "Plivo")
        assert caller.is_answered
        assert caller.ran_to_end


@pytest.mark.parametrize("first", [page(b"", "500 Oops"), page("<html/>"), page(b"")], ids=["500", "html", "empty"])
async def test_the_fallback_url_has_its_turn(tmp_path: Path, first: bytes) -> None:
    async with world(tmp_path) as w:
        w.site.pages["/fallback"] = page("<Response/>")
        caller = await w.call(first, fallback_url=w.site.url + "/fallback")
        w.check_accounted(caller, 4010)
        answer, fallback = w.site.asked("/answer")[0].params, w.site.asked("/fallback")[0].params
        assert answer == fallback, "the fallback URL is told what the answer URL was"
        assert "trying the fallback URL" in str(caller.events("remark")[0]["text"])


async def test_a_fallback_that_fails_too(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.site.pages["/fallback"] = page("<html/>")
        caller = await w.call(page(b"", "500 Oops"), fallback_url=w.site.url + "/fallback")
        w.check_accounted(caller, 8011, "Error")
        assert len(w.site.asked("/fallback")) == 1


async def test_redirect_to_nowhere_and_in_circles(tmp_path: Path) -> None:
    async with world(tmp_path, limits={"redirects": 5}) as w:
        caller = await w.call(page("<Response><Redirect>http://127.0.0.1:1/</Redirect></Response>"))
        w.check_accounted(caller, 7014, "Error")
        for url, method, code in [("no-url", "POST", 7024), (f"{w.site.url}/x", "PUT", 7034)]:
            document = f'<Response><Redirect method="{method}">{url}</Redirect></Response>'
            w.check_accounted(await w.call(page(document)), code, "Error")
        w.site.pages["/html"] = page("<html/>")
        caller = await w.call(page(f"<Response><Redirect>{w.site.url}/html</Redirect></Response>"))
        w.check_accounted(caller, 8014, "Error")
        caller = await w.call(page(f"<Response><Redirect>{w.site.url}/answer</Redirect></Response>"))
        assert "goes in circles" in w.check_accounted(caller, 2060, "Error")


async def test_a_verb_that_is_not_offered_ends_the_call_and_says_so(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        caller = await w.call(page('<Response><MultiPartyCall role="agent">room</MultiPartyCall></Response>'))
        assert "<MultiPartyCall>" in w.check_accounted(caller, 5010, "Error")


# --- streams that cannot be ---------------------------------------------------------------------------------------

BAD_STREAMS: list[tuple[dict[str, str], str]] = [
    ({"url": ""}, "has no URL"),
    ({"url": "https://example.com/"}, "the scheme https"),
    ({"url": "ws://"}, "without a host"),
    ({"url": "ws://example.com/" + "x" * 2050}, "characters; allowed is 2048"),
    ({"audioTrack": "everything"}, "audioTrack 'everything'"),
    ({"audioTrack": "both"}, "bidirectional"),
    ({"statusCallbackMethod": "PUT"}, "statusCallbackMethod 'PUT'"),
    ({"extraHeaders": "k=" + "v" * 600}, "extraHeaders"),
    ({"contentType": "audio/mp3"}, "contentType"),
    ({"contentType": "audio/x-mulaw;rate=16000"}, "contentType"),
]


@pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)
@pytest.mark.parametrize(("attributes", "text"), BAD_STREAMS, ids=range(len(BAD_STREAMS)))
async def test_a_stream_that_cannot_be(tmp_path: Path, attributes: dict[str, str], text: str, profile: Profile) -> None:
    async with world(tmp_path, profile=profile) as w:
        document = w.stream(statusCallbackUrl=w.site.url + "/status", after="<Wait length='1'/>", **attributes)
        caller, _ = w.place(document)
        await until(lambda: w.site.asked("/status"))
        caller.hang_up()
        await w.over(caller)
        w.check_accounted(caller, 4000)
        assert not caller.ran_to_end
        assert text in str(caller.events("stream_refused")[0]["text"])
        assert [record["element"] for record in caller.events("verb")] == ["Stream", "Wait"], "the next verb runs"
        assert w.site.events("/status") == (["failed"] if profile is DOCUMENTED else ["DroppedStream"])
        assert w.metric("bothway_streams_total", outcome="failed") == 1


async def test_a_second_stream_is_over_the_limit(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        first = f'<Stream keepCallAlive="false">{w.streams.url}</Stream>'
        document = w.stream(before=first, statusCallbackUrl=w.site.url + "/status")
        caller, _ = w.place(document)
        await until(lambda: w.site.asked("/status"))
        socket = await w.streams.first()
        await socket.until("media")
        caller.hang_up()
        await w.over(caller)
        w.check_accounted(caller, 4000)
        assert len(w.streams.sockets) == 1
        assert "this call has 1" in str(caller.events("stream_refused")[0]["text"])


async def test_private_networks_are_refused_by_default(tmp_path: Path) -> None:
    async with world(tmp_path, allow_private=False) as w:
        caller = await w.call(page("<Response/>"))
        assert caller.cause is not None
        assert caller.cause.code == 7011
        assert "private network" in caller.detail
        assert not w.site.requests, "the hangup URL is in a private network too"
        assert w.metric("bothway_callbacks_total", outcome="abandoned") == 1


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[fe80::1]"])
async def test_streams_into_private_networks_are_refused_by_default(tmp_path: Path, host: str) -> None:
    async with HttpClient(allow_private=True) as http, world(tmp_path, allow_private=False, http=http) as w:
        caller = await w.call(w.stream(url=f"ws://{host}:9/x", statusCallbackUrl=w.site.url + "/status"))
        w.check_accounted(caller, 4010)
        assert w.site.events("/status") == ["failed"]
        assert w.site.asked("/status")[0].params["StatusReason"] == "connection_failed"
        assert "private network" in str(caller.events("stream_ended")[0]["text"])


# --- what the reference says of a good call, in both profiles ---------------------------------------------------


async def good_app(socket: Socket) -> None:
    await socket.until("media", 2)
    await socket.play(LOUD * 3)
    await socket.send(event="checkpoint", name="hello")
    await socket.until("playedStream")
    await socket.play(LOUD * 50)
    await socket.send(event="checkpoint", name="never")
    await socket.send(event="clearAudio")
    await socket.until("clearedAudio")


def start_of(w: World) -> dict[str, object]:
    return w.streams.sockets[0].messages[0]


async def test_documented_callbacks_and_messages(tmp_path: Path) -> None:
    async with world(tmp_path, good_app) as w:
        caller = await w.call(w.stream(statusCallbackUrl=w.site.url + "/status", extraHeaders="a=1,b=2"))
        w.check_accounted(caller, 4010, "Plivo")
        socket = w.streams.sockets[0]
        assert start_of(w) == {
            "sequenceNumber": 1,
            "event": "start",
            "start": {
                "callId": caller.call_id,
                "streamId": socket.messages[0]["start"]["streamId"],
                "accountId": "MAAAAAAAAAAAAAAAAAAA",
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
            },
            "extra_headers": "a=1,b=2",
        }
        assert [message["sequenceNumber"] for message in socket.messages] == list(range(1, len(socket.messages) + 1))
        assert [message["media"]["chunk"] for message in socket.all("media")] == list(
            range(1, len(socket.all("media")) + 1)
        )
        assert [message["name"] for message in socket.all("playedStream")] == ["hello"]
        assert len(socket.all("clearedAudio")) == 1
        assert not socket.all("stop"), "the app closed: nobody is left to tell"
        started, stopped = [request.params for request in w.site.asked("/status")]
        common = {"CallUUID", "StreamID", "From", "To", "Direction", "Event", "Timestamp"}
        assert set(started) == common
        assert set(stopped) == common | {"StatusReason", "Duration"}
        assert (started["Event"], stopped["Event"], stopped["StatusReason"]) == ("started", "stopped", "completed")
        assert started["StreamID"] == stopped["StreamID"] == socket.messages[0]["start"]["streamId"]
        assert started["Timestamp"].endswith("Z")
        assert started["From"] == "15550001"
        paths = [request.path for request in w.site.requests]
        assert paths == ["/answer", "/status", "/status", "/hangup"]


async def test_live_callbacks_and_messages(tmp_path: Path) -> None:
    async with world(tmp_path, good_app, profile=LIVE) as w:
        url = w.site.url + "/status"
        caller = await w.call(w.stream(statusCallbackUrl=url, statusCallbackMethod="GET", extraHeaders="a=1,b=2"))
        w.check_accounted(caller, 4010, "Plivo")
        socket = w.streams.sockets[0]
        start = socket.messages[0]
        assert start["sequenceNumber"] == 0
        assert start["start"]["accountId"].isdigit()
        assert start["start"]["mediaFormat"] == {"encoding": "audio/x-l16", "sampleRate": 8000}
        assert start["extra_headers"] == "{X-PH-a: 1, X-PH-b: 2}"
        assert not socket.all("stop")
        assert w.site.events("/status") == ["StartStream", "PlayedStream", "ClearedAudio", "StopStream"]
        assert {request.method for request in w.site.asked("/status")} == {"GET"}
        first, played, cleared, _ = [request.params for request in w.site.asked("/status")]
        common = {
            "CallUUID", "StreamID", "From", "To", "Direction", "Event", "ParentAuthID", "Timestamp",
            "status_callback_url", "status_callback_method",
        }  # fmt: skip
        assert set(first) == common | {"ServiceURL"}
        assert set(played) == common | {"Name"}
        assert set(cleared) == common
        assert first["ServiceURL"] == w.streams.url
        assert first["status_callback_url"] == url
        assert first["status_callback_method"] == "GET"
        assert played["Name"] == "hello"
        assert len(first["Timestamp"]) == len("2026-01-31 10:22:33")


@pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)
async def test_a_plain_hang_up(tmp_path: Path, profile: Profile) -> None:
    async with world(tmp_path, profile=profile) as w:
        caller, _ = w.place(w.stream(statusCallbackUrl=w.site.url + "/status"))
        socket = await w.streams.first()
        await socket.until("media")
        await until(lambda: w.site.asked("/status"))
        caller.hang_up()
        await w.over(caller)
        await asyncio.wait_for(socket.closed.wait(), 5)
        w.check_accounted(caller, 4000, "Caller")
        assert (socket.close_code, socket.close_reason) == (1000, "call ended")
        if profile is DOCUMENTED:
            assert socket.messages[-1]["event"] == "stop"
            assert w.site.events("/status") == ["started", "stopped"]
        else:
            assert not socket.all("stop")
            assert w.site.events("/status") == ["StartStream"], "no callback on a plain hang-up"


@pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)
async def test_no_extra_headers(tmp_path: Path, profile: Profile) -> None:
    async def app(socket: Socket) -> None:
        await socket.until("media")

    async with world(tmp_path, app, profile=profile) as w:
        await w.call(w.stream())
        assert {message.get("extra_headers", "{}") for message in w.streams.sockets[0].messages} == {"{}"}


@pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)
async def test_a_stream_beside_the_document(tmp_path: Path, profile: Profile) -> None:
    async def app(socket: Socket) -> None:
        await socket.until("media", 12)

    async with world(tmp_path, app, profile=profile) as w:
        caller = await w.call(w.stream(keepCallAlive="false"))
        w.check_accounted(caller, 4010, "Plivo")
        if profile is DOCUMENTED:
            assert len(w.streams.sockets[0].all("media")) == 12, "the call ends when both are done"
        else:
            assert len(caller.heard) < 12, "the call ends with the last verb"


async def test_a_stream_that_blocks_the_document(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await socket.until("media", 5)

    async with world(tmp_path, app, profile=LIVE) as w:
        caller = await w.call(w.stream(after="<Hangup/>"))
        w.check_accounted(caller, 4000, "Answer XML")
        assert [record["element"] for record in caller.events("verb")] == ["Stream", "Hangup"]


@pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)
async def test_stream_timeout(tmp_path: Path, profile: Profile) -> None:
    async with world(tmp_path, profile=profile) as w:
        caller = await w.call(w.stream(streamTimeout="1", statusCallbackUrl=w.site.url + "/status"))
        w.check_accounted(caller, 4010, "Plivo")
        assert caller.ran_to_end
        stopped = "stopped" if profile is DOCUMENTED else "StopStream"
        assert w.site.events("/status")[1] == stopped
        assert len(w.site.asked("/status")) == 2
        socket = w.streams.sockets[0]
        assert (socket.close_code, socket.close_reason) == (1000, "stream timeout")
        assert bool(socket.all("stop")) == (profile is DOCUMENTED)


async def test_both_tracks(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await socket.until("media", 10)

    async with world(tmp_path, app) as w:
        caller = Caller(says=b"\x33" * 160)
        await w.call(w.stream(bidirectional="false", audioTrack="both"), caller=caller)
        messages = w.streams.sockets[0].all("media")
        for track in ("inbound", "outbound"):
            chunks = [message["media"]["chunk"] for message in messages if message["media"]["track"] == track]
            assert chunks == list(range(1, len(chunks) + 1))
        assert w.streams.sockets[0].messages[0]["start"]["tracks"] == ["inbound", "outbound"]
