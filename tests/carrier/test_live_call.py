from __future__ import annotations

import asyncio
import gc
import weakref
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.carrier.world import Caller, Request, Socket, listen, page, until, world

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K, AudioFormat
from bothway.audio.level import rms_dbfs
from bothway.audio.tones import tone
from bothway.audio.transcode import convert, to_l16
from bothway.core.profile import DOCUMENTED, LIVE, Profile
from bothway.speech.voices import TONE_MS_PER_CHARACTER, ToneVoice
from bothway.wire.hangup import HangupCause

pytestmark = pytest.mark.virtual_time

LOUD = b"\x11" * 160
QUIET = MULAW_8K.silent_frame


async def test_the_callers_audio_is_passed_on_unchanged(tmp_path: Path) -> None:
    class Counting(Caller):
        """A caller whose frames are numbered."""

        sent = 0

        def _answer(self, frames: int) -> None:
            for _ in range(frames):
                self.sent += 1
                self.says = bytes([self.sent % 250]) * 160
                super()._answer(1)

    async def app(socket: Socket) -> None:
        await socket.until("media", 30)

    async with world(tmp_path, app) as w:
        caller = Counting()
        await w.call(w.stream(), caller=caller)
        payloads = [b64decode(message["media"]["payload"]) for message in w.streams.sockets[0].all("media")]
        assert payloads == [QUIET, *(bytes([number]) * 160 for number in range(1, 30))], "the first is in answer to one"


@pytest.mark.usefixtures("both_times")
async def test_what_the_app_plays_is_heard_unchanged_and_in_order(tmp_path: Path) -> None:
    frames = [bytes([number]) * 160 for number in range(1, 41)]

    async def app(socket: Socket) -> None:
        await socket.play(b"".join(frames)[:1000])  # no whole number of frames
        await socket.play(b"".join(frames)[1000:])
        await socket.send(event="checkpoint", name="end")
        await socket.until("playedStream")

    async with world(tmp_path, app) as w:
        caller = await w.call(w.stream())
        first = caller.heard.index(frames[0])
        assert caller.heard[first : first + 40] == frames


async def test_a_16_khz_leg_and_an_8_khz_stream(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await socket.play(b"\x00\x20" * 8000, "audio/x-l16", 8000)
        await socket.until("media", 20)

    async with world(tmp_path, app) as w:
        caller = Caller(L16_16K, says=b"\x00\x10" * 320)
        await w.call(w.stream(contentType="audio/x-l16;rate=8000"), caller=caller)
        sizes = {len(b64decode(message["media"]["payload"])) for message in w.streams.sockets[0].all("media")}
        assert sizes == {320}
        assert {len(frame) for frame in caller.heard} == {640}
        assert len(caller.heard) == 20
        assert L16_16K.silent_frame not in caller.heard


@pytest.mark.parametrize(
    ("leg", "content_type", "sent", "size"),
    [
        (MULAW_8K, "audio/x-l16;rate=16000", L16_16K, 640),
        (MULAW_8K, "audio/x-l16;rate=8000", L16_8K, 320),
        (L16_16K, "audio/x-mulaw;rate=8000", MULAW_8K, 160),
        (L16_8K, "audio/x-mulaw;rate=8000", MULAW_8K, 160),
    ],
    ids=str,
)
async def test_a_leg_and_a_stream_that_are_coded_otherwise(
    tmp_path: Path, leg: AudioFormat, content_type: str, sent: AudioFormat, size: int
) -> None:
    """A tone each way: as loud on the other side as on this one, and at its pitch."""
    caller_says = convert(tone(500.0, 20, 8000, -10.0), L16_8K, leg)
    app_says = convert(tone(1000.0, 400, 8000, -10.0), L16_8K, sent)

    async def app(socket: Socket) -> None:
        await socket.play(app_says, sent.encoding.value, sent.rate)
        await socket.send(event="checkpoint", name="end")
        await socket.until("playedStream")

    async with world(tmp_path, app) as w:
        caller = await w.call(w.stream(contentType=content_type), caller=Caller(leg, says=caller_says))
        payloads = [b64decode(message["media"]["payload"]) for message in w.streams.sockets[0].all("media")]
        assert {len(payload) for payload in payloads} == {size}
        for frames, coded, pitch in [(payloads, sent, 500), (caller.heard, leg, 1000)]:
            loud = [to_l16(frame, coded.encoding) for frame in frames]
            loud = [frame for frame in loud if rms_dbfs(frame) > -20]
            assert len(loud) in {20, 21}, "400 ms, and what a resampler rings on"
            middle = np.frombuffer(loud[len(loud) // 2], "<i2")
            assert int(np.argmax(np.abs(np.fft.rfft(middle)))) * 50 == pitch


async def test_a_one_way_stream_of_what_the_caller_hears(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await until(lambda: any(b64decode(m["media"]["payload"]) != QUIET for m in socket.all("media")))
        await socket.until("media", len(socket.all("media")) + 8)

    async with world(tmp_path, app, voice=ToneVoice(rate=8000)) as w:
        document = w.stream(
            bidirectional="false", audioTrack="outbound", keepCallAlive="false", after="<Speak>Hello-there</Speak>"
        )
        caller = await w.call(document, caller=Caller(says=LOUD))
        (socket,) = w.streams.sockets
        assert socket.messages[0]["start"]["tracks"] == ["outbound"]
        assert {message["media"]["track"] for message in socket.all("media")} == {"outbound"}
        payloads = [b64decode(message["media"]["payload"]) for message in socket.all("media")]
        assert LOUD not in payloads, "the caller's own voice is the other track"
        sounding = [payload for payload in payloads if payload != QUIET]
        first = caller.heard.index(sounding[0])
        assert caller.heard[first : first + len(sounding)] == sounding


async def test_what_stands_before_a_stream_delays_it(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await socket.until("media", 2)

    async with world(tmp_path, app, voice=ToneVoice()) as w:
        caller = await w.call(w.stream(before="<Speak>Hello</Speak>"))
        events = [str(record["event"]) for record in w.log(caller)]
        assert events.index("answered") < events.index("prompt_played") < events.index("stream_opening")
        (opening,) = caller.events("stream_opening")
        # A frame more for the resampler's tail, and one in which the prompt is seen to be over.
        assert opening["t_ms"] == 5 * TONE_MS_PER_CHARACTER + 40


async def test_a_prompt_and_a_stream_beside_it_are_mixed(tmp_path: Path) -> None:
    """The prompt runs on while the app plays: where both sound, the caller hears their sum."""
    steady = b"\x00\x08" * 320  # 2048 in every sample, which no frame of the voice's tone has

    async def app(socket: Socket) -> None:
        await socket.until("media", 2)
        await socket.play(steady * 20, "audio/x-l16", 16000)
        await socket.send(event="checkpoint", name="end")
        await socket.until("playedStream")

    async with world(tmp_path, app, voice=ToneVoice()) as w:
        document = w.stream(
            contentType="audio/x-l16;rate=16000", keepCallAlive="false", after=f"<Speak>{'x' * 12}</Speak>"
        )
        caller = await w.call(document, caller=Caller(L16_16K))
        w.check_accounted(caller, 4010)
        heard = [np.frombuffer(frame, "<i2") for frame in caller.heard]
        both = [frame for frame in heard if abs(frame.mean() - 2048) < 300 and frame.std() > 500]
        assert len(both) == 20
        assert [record["element"] for record in caller.events("verb")] == ["Stream", "Speak"]


@pytest.mark.usefixtures("both_times")
async def test_keys_both_ways(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await socket.until("media")
        await socket.send(event="sendDTMF", dtmf="12#")
        await socket.until("dtmf", 2)

    async with world(tmp_path, app) as w:
        caller, _ = w.place(w.stream())
        await until(lambda: caller.digits)
        caller.press("7")
        caller.press("*")
        await w.over(caller)
        assert caller.digits == "12#"
        assert [message["dtmf"]["digit"] for message in w.streams.sockets[0].all("dtmf")] == ["7", "*"]
        assert [record["digit"] for record in caller.events("dtmf")] == ["7", "*"]
        assert [record["digits"] for record in caller.events("send_dtmf")] == ["12#"]


async def test_a_key_before_the_answer_and_without_a_stream_is_only_on_record(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        caller, _ = w.place(page("<Response><Wait length='1'/></Response>"))
        caller.press("1")
        await until(lambda: caller.is_answered)
        caller.press("2")
        caller.hang_up()
        await w.over(caller)
        assert len(caller.events("dtmf")) == 2


async def test_a_caller_that_gives_up_before_the_answer(tmp_path: Path) -> None:
    async def slowly(request: Request) -> bytes:
        await asyncio.sleep(60)
        return b""

    async with world(tmp_path) as w:
        caller, _ = w.place(slowly)
        await until(lambda: w.site.requests)
        caller.hang_up()
        await w.over(caller)
        w.check_accounted(caller, 1000, "Caller")
        assert w.site.asked("/hangup")[0].params["CallStatus"] == "cancel"
        assert not caller.is_answered


@pytest.mark.parametrize(("reason", "code", "status"), [("busy", 3010, "busy"), ("rejected", 3020, "failed")])
async def test_a_call_that_is_not_taken(tmp_path: Path, reason: str, code: int, status: str) -> None:
    async with world(tmp_path) as w:
        caller = await w.call(page(f"<Response><Hangup reason='{reason}'/></Response>"))
        w.check_accounted(caller, code, "Answer XML")
        assert not caller.is_answered
        assert w.site.asked("/hangup")[0].params["CallStatus"] == status


@pytest.mark.parametrize("reason", ["busy", "rejected"])
async def test_a_call_that_was_taken_cannot_be_refused_any_more(tmp_path: Path, reason: str) -> None:
    async with world(tmp_path) as w:
        caller = await w.call(page(f"<Response><Wait length='1'/><Hangup reason='{reason}'/></Response>"))
        w.check_accounted(caller, 4000, "Answer XML")
        assert w.site.asked("/hangup")[0].params["CallStatus"] == "completed"


async def test_limits_in_time(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        limited, _ = w.place(w.stream(), time_limit=1)
        await until(lambda: limited.is_answered)
        scheduled, _ = w.place(w.stream(before="<Hangup schedule='1'/>"))
        await w.over(limited)
        await w.over(scheduled)
        assert "time limit" in w.check_accounted(limited, 6000, "Plivo")
        assert "schedule" in w.check_accounted(scheduled, 6000, "Plivo")
        assert not limited.ran_to_end, "a limit cuts a call off"
        assert scheduled.ran_to_end, "its own document asked for it"
        assert [len(caller.heard) for caller in (limited, scheduled)] == [50, 50]


class _Mute(Caller):
    """A leg that sends `sends` frames, and nothing from then on."""

    def __init__(self, sends: int = 0) -> None:
        super().__init__()
        self._left = sends

    def _answer(self, frames: int) -> None:
        super()._answer(min(frames, self._left))
        self._left -= min(frames, self._left)


async def test_a_leg_that_sends_nothing_for_a_minute_has_gone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        never, _ = w.place(w.stream(), caller=_Mute())
        once, _ = w.place(w.stream(), caller=_Mute(500))
        lives, call = w.place(w.stream())
        await until(never.done.is_set, 100)
        await w.over(never)
        assert "no audio came from the leg for 60 s" in w.check_accounted(never, 6020, "Plivo")
        assert 3000 <= len(never.heard) <= 3050
        await w.over(once)
        w.check_accounted(once, 6020, "Plivo")
        assert 3500 <= len(once.heard) <= 3550
        assert not call.over
        lives.hang_up()
        await w.over(lives)


async def test_a_leg_may_be_silent_for_longer_before_the_answer(tmp_path: Path) -> None:
    async with world(tmp_path, limits={"media_timeout_seconds": 2.0}) as w:
        document = page("<Response><PreAnswer><Wait length='5'/></PreAnswer><Wait length='9'/></Response>")
        mute = await w.call(document, caller=_Mute())
        w.check_accounted(mute, 6020, "Plivo")
        assert 345 <= len(mute.heard) <= 410, "2 s behind the answer, which is told at whole seconds"


async def test_how_long_a_leg_may_be_silent_is_a_limit(tmp_path: Path) -> None:
    async with world(tmp_path, limits={"media_timeout_seconds": 2.0}) as w:
        mute = await w.call(w.stream(), caller=_Mute())
        w.check_accounted(mute, 6020, "Plivo")
        assert 100 <= len(mute.heard) <= 150


async def test_a_redirect_is_told_what_the_call_does(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.site.pages["/first"] = page(f"<Response><Wait length='1'/><Redirect>{w.site.url}/next</Redirect></Response>")
        w.site.pages["/next"] = page("<Response/>")
        caller = await w.call(page(f"<Response><Redirect method='GET'>{w.site.url}/first</Redirect></Response>"))
        w.check_accounted(caller, 4010)
        first, following = w.site.asked("/first")[0], w.site.asked("/next")[0]
        assert (first.method, first.params["Event"], first.params["CallStatus"]) == ("GET", "Redirect", "ringing")
        assert (following.method, following.params["CallStatus"]) == ("POST", "in-progress")


@pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)
async def test_audio_that_ends_with_its_stream_is_no_clear(tmp_path: Path, profile: Profile) -> None:
    async def app(socket: Socket) -> None:
        await socket.play(LOUD * 100)
        await socket.until("media", 5)

    async with world(tmp_path, app, profile=profile) as w:
        caller = await w.call(w.stream(statusCallbackUrl=w.site.url + "/status"))
        w.check_accounted(caller, 4010)
        assert "ClearedAudio" not in w.site.events("/status")
        assert not caller.events("cleared")
        (dropped,) = caller.events("dropped")
        assert dropped["ms"] == 1900.0, "it heard 100 ms of the two seconds"
        assert w.metric("bothway_clears_total") == 0


async def test_nothing_is_recorded_of_a_call_after_its_end_but_its_callbacks(tmp_path: Path) -> None:
    """The end may come in the middle of a tick: with a prompt that was heard, or a stream that was dropped."""
    async with world(tmp_path, voice=ToneVoice()) as w:
        caller = await w.call(page("<Response><Speak>Hello, it is me again</Speak></Response>"))
        events = [record["event"] for record in w.log(caller)]
        assert events[events.index("ended") :] == ["ended", "callback"]


async def test_a_stream_that_listens_beside_the_one_that_talks(tmp_path: Path) -> None:
    async with world(tmp_path, limits={"streams_per_call": 3}) as w:
        listener = f"<Stream audioTrack='both'>{w.streams.url}</Stream>"
        second = f"<Stream bidirectional='true' statusCallbackUrl='{w.site.url}/status'>{w.streams.url}</Stream>"
        talker = f"<Stream bidirectional='true'>{w.streams.url}</Stream>"
        caller, call = w.place(page(f"<Response>{listener}{talker}{second}<Wait length='60'/></Response>"))
        await until(lambda: len(call.streams._attached) == 2)
        await until(lambda: w.site.asked("/status"))
        (refused,) = w.site.asked("/status")
        assert refused.params["Event"] == "failed"
        assert any("one alone can play audio" in str(record) for record in caller.records)
        for socket in w.streams.sockets:
            await until(lambda socket=socket: len(socket.messages) > 20)  # type: ignore[misc]
        caller.hang_up()
        await w.over(caller)


async def test_several_streams_in_turn(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await socket.until("media", 3)

    async with world(tmp_path, app) as w:
        again = f"<Stream keepCallAlive='true'>{w.streams.url}</Stream>"
        caller = await w.call(w.stream(after=again + again))
        w.check_accounted(caller, 4010)
        starts = [socket.messages[0]["start"] for socket in w.streams.sockets]
        assert len({start["streamId"] for start in starts}) == 3
        assert {start["callId"] for start in starts} == {caller.call_id}
        assert w.metric("bothway_streams_total", outcome="ended") == 3


class _BrokenLeg(Caller):
    """A leg with a bug, in one place."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def send_frames(self, frames: Sequence[bytes]) -> None:
        if self.where == "send_frames":
            raise ZeroDivisionError
        super().send_frames(frames)

    def ended(self, cause: HangupCause, detail: str, *, ran_to_end: bool) -> None:
        super().ended(cause, detail, ran_to_end=ran_to_end)
        if self.where == "ended":
            raise ZeroDivisionError


async def test_a_fault_in_a_tick_ends_its_own_call_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        other, _ = w.place(w.stream())
        broken, _ = w.place(w.stream(), caller=_BrokenLeg("send_frames"))
        await w.over(broken)
        assert "a fault in the carrier: ZeroDivisionError" in w.check_accounted(broken, 5010, "Error")
        heard = len(other.heard)
        await until(lambda: len(other.heard) > heard + 3)
        other.hang_up()
        await w.over(other)
        w.check_accounted(other, 4000)


async def test_a_leg_that_fails_at_the_end_is_accounted_for(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        caller = await w.call(page("<Response><Hangup/></Response>"), caller=_BrokenLeg("ended"))
        w.check_accounted(caller, 4000)


@pytest.mark.real_sockets
async def test_the_carriers_side_keeps_time(tmp_path: Path) -> None:
    async with world(tmp_path, listen) as w:
        caller, _ = w.place(w.stream())
        await until(lambda: len(caller.heard) >= 10)
        loop = asyncio.get_running_loop()
        began, heard = loop.time(), len(caller.heard)
        await asyncio.sleep(0.5)
        assert len(caller.heard) - heard == pytest.approx((loop.time() - began) / 0.02, abs=2)
        caller.hang_up()
        await w.over(caller)


async def test_five_minutes_have_as_many_frames_as_they_should(tmp_path: Path) -> None:
    async with world(tmp_path, listen) as w:
        caller, _ = w.place(w.stream())
        await until(lambda: len(caller.heard) >= 10)
        heard = len(caller.heard)
        await asyncio.sleep(300)
        assert len(caller.heard) - heard == 300 * 50
        caller.hang_up()
        await w.over(caller)


async def test_a_call_that_is_over_is_gone_without_the_garbage_collector(tmp_path: Path) -> None:
    """When the collector came by it would take hundreds of calls at once, and hold the audio of the others."""
    gc.collect()
    gc.disable()
    try:
        async with world(tmp_path, listen) as w:
            caller, call = w.place(w.stream(before="<Speak>Hello</Speak>"), hangup_url=w.site.url + "/hangup")
            parts = [weakref.ref(part) for part in (call, call.report, call.streams, call.overlay, call.recorder)]
            del call
            await w.streams.first()
            caller.hang_up()
            await w.over(caller)
            caller._call = None
            await asyncio.sleep(1)
            assert [part() for part in parts] == [None] * len(parts)
    finally:
        gc.enable()
