"""The streams of a call, over REST (plivo-protocol.md, 5.2)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.carrier.rest_client import waiting
from tests.carrier.world import until

pytestmark = pytest.mark.virtual_time

LOUD = b"\x11" * 160


async def test_a_stream_is_started_looked_at_and_stopped(tmp_path: Path) -> None:
    async with waiting(tmp_path) as (w, rest, caller, path):
        status = w.site.url + "/status"
        started = await rest.post(
            path + "Stream/",
            service_url=w.streams.url,
            bidirectional="true",
            content_type="audio/x-l16;rate=16000",
            extra_headers="a=1",
            status_callback_url=status,
        )
        assert (started.status, started["message"]) == (202, "audio streaming started")
        socket = await w.streams.first()
        start = await socket.until("start")
        assert start["start"]["streamId"] == started["stream_id"]
        assert start["start"]["mediaFormat"] == {"encoding": "audio/x-l16", "sampleRate": 16000}
        await socket.until("media", 5)
        await socket.play(LOUD * 5)
        await caller.hears(LOUD, 4)
        again = await rest.post(path + "Stream/", service_url=w.streams.url)
        assert (again.status, "open on this call already" in again["error"]) == (400, True)
        one = path + f"Stream/{started['stream_id']}/"
        found = await rest.get(one)
        assert (found["status"], found["bidirectional"], found["end_time"]) == ("in-progress", True, None)
        assert (await rest.get(path + "Stream/undefined/")).status == 404
        assert "undefined" in (await rest.get(path + "Stream/undefined/"))["error"]
        assert (await rest.delete(one)).status == 204
        await until(socket.closed.is_set)
        assert (await rest.delete(one)).status == 404
        await asyncio.sleep(1)
        assert not caller.done.is_set(), "the document goes on"
        found = await rest.get(one)
        assert (found["status"], found["rounded_bill_duration"], found["billed_amount"]) == ("completed", 60, "0.00300")
        assert w.site.events("/status") == ["started", "stopped"]
        listed = await rest.get(path + "Stream/")
        assert [stream["stream_id"] for stream in listed["objects"]] == [started["stream_id"]]


async def test_all_streams_of_a_call_are_stopped(tmp_path: Path) -> None:
    async with waiting(tmp_path, limits={"streams_per_call": 3}) as (w, rest, caller, path):
        for number in range(3):
            answer = await rest.post(path + "Stream/", service_url=f"{w.streams.url}?{number}", audio_track="both")
            assert answer.status == 202
        await until(lambda: len(w.streams.sockets) == 3)
        for socket in w.streams.sockets:
            await socket.until("media", 10)
            tracks = {message["media"]["track"] for message in socket.all("media")}
            assert tracks == {"inbound", "outbound"}
        refused = await rest.post(path + "Stream/", service_url=w.streams.url + "?4")
        assert (refused.status, "3 open streams" in refused["error"]) == (400, True)
        assert (await rest.delete(path + "Stream/")).status == 204
        await until(lambda: all(socket.closed.is_set() for socket in w.streams.sockets))
        assert not caller.done.is_set()
