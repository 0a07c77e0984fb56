from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.carrier.world import Caller, Request, Socket, page, until, world

from bothway.carrier import call_report as module
from bothway.carrier.live_call import LiveCall
from bothway.core.profile import LIVE
from bothway.wire.webhooks import parse_hangup

pytestmark = pytest.mark.virtual_time

LOUD = b"\x11" * 160


async def talk(socket: Socket) -> None:
    await socket.until("media", 2)
    await socket.play(LOUD * 10)
    await socket.send(event="checkpoint", name="first")
    await socket.until("playedStream")
    await socket.play(LOUD * 100)
    await socket.send(event="clearAudio")
    await socket.until("media", 60)


async def test_the_log_of_a_call(tmp_path: Path) -> None:
    async with world(tmp_path, talk, profile=LIVE) as w:
        caller = await w.call(w.stream(statusCallbackUrl=w.site.url + "/status"))
        w.check_accounted(caller, 4010)
        records = w.log(caller)
        assert records == caller.records, "a leg that follows the call sees what is kept of it"
        once = [
            "call", "document", "verb", "answered", "stream_opening", "stream_started", "checkpoint", "played",
            "cleared", "stream_ended", "ended",
        ]  # fmt: skip
        events = [record["event"] for record in records]
        assert [events.count(event) for event in once] == [1] * len(once)
        assert sorted(once, key=events.index) == once
        called = records[0]
        assert called["schema"] == 1
        assert called["call_id"] == caller.call_id
        assert called["profile"] == "live"
        assert called["leg"] == "audio/x-mulaw;rate=8000"
        assert datetime.fromisoformat(called["wall"]).tzinfo is not None
        assert [record["t_ms"] for record in records] == sorted(record["t_ms"] for record in records)
        assert [record["at"] for record in records] == sorted(record["at"] for record in records)
        seconds = [record for record in records if record["event"] == "media"]
        assert [record["frames"] for record in seconds][:1] == [50]
        assert seconds[-1]["frames"] == len(caller.heard)
        assert sum(record["sounding"] for record in seconds) == caller.heard.count(LOUD)
        callbacks = [record for record in records if record["event"] == "callback"]
        assert [record["what"] for record in callbacks] == [
            "StartStream", "PlayedStream", "ClearedAudio", "StopStream", "Hangup",
        ]  # fmt: skip
        assert "a-token-that-signs" not in str(records)


async def test_the_counters_of_a_call(tmp_path: Path) -> None:
    async with world(tmp_path, talk) as w:
        assert w.metric("bothway_calls_active") == 0
        caller, _ = w.place(w.stream())
        assert w.metric("bothway_calls_active") == 1
        await (await w.streams.first()).until("media")
        assert w.metric("bothway_streams_active") == 1
        await w.over(caller)
        w.check_accounted(caller, 4010)
        for track in ("from_caller", "to_caller"):
            assert w.metric("bothway_frames_total", track=track) == len(caller.heard)
        assert w.metric("bothway_clears_total") == 1
        assert w.metric("bothway_checkpoints_total", outcome="played") == 1
        assert w.metric("bothway_streams_total", outcome="ended") == 1
        assert w.metric("bothway_call_seconds_count") == 1
        assert len(caller.heard) == 60
        # 5 ms to the ticker's next step, 59 frames more, and 5 ms in which the app sees that it has 60.
        assert w.metric("bothway_call_seconds_sum") == pytest.approx(0.005 + 59 * 0.02 + 0.005)
        assert w.metric("bothway_tick_late_seconds_count") == 60
        assert w.metric("bothway_tick_late_seconds_sum") == pytest.approx(0, abs=1e-6)
        assert w.metric("bothway_http_fetches_total", kind="answer", outcome="ok") == 1
        assert w.metric("bothway_callbacks_total", outcome="delivered") == 1


async def test_what_the_hangup_url_is_told(tmp_path: Path) -> None:
    async with world(tmp_path, talk) as w:
        before = datetime.now(UTC)
        caller = await w.call(w.stream())
        (request,) = w.site.asked("/hangup")
        report = parse_hangup(request.params)
        assert (report.call_uuid, report.from_, report.to) == (caller.call_id, "15550001", "15550002")
        assert (report.status, report.cause.code, report.cause.name) == ("completed", 4010, "End Of XML Instructions")
        assert (report.duration, report.bill_duration) == (2, 60)
        times = [
            datetime.fromisoformat(f"{at}+00:00") for at in (report.start_time, report.answer_time, report.end_time)
        ]
        assert times == [before, before, before + timedelta(seconds=1)], "of 1.19 s whole seconds are told"
        assert request.params["TotalCost"] == "0.00550"
        assert request.params["Direction"] == "inbound"


async def test_a_call_without_a_hangup_url(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        caller = await w.call(page("<Response/>"), hangup_url=None)
        assert caller.cause is not None
        assert not w.site.asked("/hangup")
        assert not caller.events("callback")


async def test_callbacks_that_are_never_answered_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(request: Request) -> bytes:
        await asyncio.sleep(60)
        return b""

    monkeypatch.setattr(module, "_DELIVERY_SECONDS", 0.1)
    async with world(tmp_path) as w:
        w.site.pages["/hangup"] = never
        caller = await w.call(page("<Response/>"))
        assert "dropped" in str(caller.events("callback")[0]["error"])
        assert w.log(caller)[-1]["event"] == "callback"


async def test_remarks_on_a_document(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        caller = await w.call(page("<Response><Hangup colour='red'/>\n<Nonsense/></Response>"))
        w.check_accounted(caller, 4000)
        texts = [str(record["text"]) for record in caller.events("remark")]
        assert any("line 1, <Hangup>" in text and "colour" in text for text in texts)
        assert any("line 2, <Nonsense>" in text for text in texts)


async def test_moments_are_wall_time(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        caller: Caller
        call: LiveCall
        caller, call = w.place(w.stream())
        assert call.report.moment(asyncio.get_running_loop().time()) == datetime.now(UTC)
        await until(lambda: caller.is_answered)
        caller.hang_up()
        await w.over(caller)
