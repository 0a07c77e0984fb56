"""Processes that are killed, and disks that fill up."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.carrier.fault_app import NOISE
from tests.carrier.test_evidence import check_wav
from tests.carrier.world import ACCOUNT, Socket, World, until, world

from bothway.carrier.carrier import Carrier
from bothway.carrier.evidence import LOG_NAME, RECORDING_NAME
from bothway.core.profile import DOCUMENTED, LIVE, Profile

_ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def process(module: str, *arguments: object) -> AsyncIterator[tuple[Process, str]]:
    """A Python process, and the first line that it prints."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.carrier.{module}", *map(str, arguments),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=_ROOT,
    )  # fmt: skip
    assert running.stdout is not None
    try:
        async with asyncio.timeout(20):
            line = await running.stdout.readline()
        if not line:
            raise AssertionError((await running.communicate())[1].decode())
        yield running, line.decode().strip()
    finally:
        if running.returncode is None:
            running.kill()
        await running.communicate()


@pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)
async def test_the_app_is_killed_in_mid_call(tmp_path: Path, profile: Profile) -> None:
    async with process("fault_app") as (app, port), world(tmp_path, profile=profile) as w:
        document = w.stream(
            url=f"ws://127.0.0.1:{port}/",
            contentType="audio/x-mulaw;rate=8000",
            statusCallbackUrl=w.site.url + "/status",
            after="<Wait length='1'/><Hangup/>",
        )
        caller, _ = w.place(document)
        await caller.hears(NOISE, 10)
        app.send_signal(signal.SIGKILL)
        await until(lambda: caller.events("stream_ended"))
        heard = caller.heard.count(NOISE)
        await w.over(caller)
        w.check_accounted(caller, 4000, "Answer XML")
        assert [record["element"] for record in caller.events("verb")] == ["Stream", "Wait", "Hangup"]
        assert "the app's socket died" in str(caller.events("stream_ended")[0]["text"])
        assert caller.heard.count(NOISE) == heard, "what was queued is dropped with the stream"
        assert not caller.ran_to_end
        status = [request.params for request in w.site.asked("/status")]
        if profile is DOCUMENTED:
            assert [params["Event"] for params in status] == ["started", "failed"]
            assert status[1]["StatusReason"] == "connection_failed"
        else:
            assert [params["Event"] for params in status] == ["StartStream", "DroppedStream"]
            assert status[1]["Error"] == "connection disconnected with the remote service"
        assert w.metric("bothway_streams_total", outcome="dropped") == 1


def whole_lines(log: Path) -> list[str]:
    """The events of a log whose lines are whole, the last one included."""
    content = log.read_bytes()
    assert content.endswith(b"\n")
    return [json.loads(line)["event"] for line in content.splitlines()]


async def test_the_carrier_is_killed_in_mid_call(tmp_path: Path) -> None:
    async def app(socket: Socket) -> None:
        await socket.play(NOISE * 200)
        await socket.closed.wait()

    async with world(tmp_path / "of the bystander", app) as w:
        w.site.pages["/answer"] = w.stream()
        data = tmp_path / "data"
        arguments = (data, w.site.url + "/answer", w.site.url + "/hangup")
        async with process("fault_carrier", *arguments) as (carrier, call_id):
            socket = await w.streams.first()
            await socket.until("media", 120)
            carrier.send_signal(signal.SIGKILL)
            await asyncio.wait_for(socket.closed.wait(), 5)
            assert socket.close_code == 1006, "the app sees the end"
        folder = data / "calls" / call_id
        events = whole_lines(folder / LOG_NAME)
        assert events[:4] == ["call", "document", "verb", "answered"]
        assert "ended" not in events
        assert events.count("media") == 2
        assert check_wav(folder / RECORDING_NAME) == 16_000, "the seconds that were whole"
        assert not w.site.asked("/hangup")
        before = (folder / RECORDING_NAME).read_bytes()

        async with Carrier(account=ACCOUNT, data=data) as restarted:
            records = [json.loads(line) for line in (folder / LOG_NAME).read_text().splitlines()]
            assert [record["event"] for record in records] == [*events, "ended"]
            assert records[-1]["code"] == 5010
            assert records[-1]["t_ms"] == records[-2]["t_ms"]
            assert records[-1]["detail"] == "the carrier was killed in mid-call"
            assert not restarted.calls
        assert (folder / RECORDING_NAME).read_bytes() == before
        assert not list((data / "live").iterdir())


async def call_on_a_full_disk(w: World, data: Path, *limit: int) -> tuple[str, str]:
    """A call of two and a half seconds on a carrier of its own. Gives its id, and the carrier's log."""
    w.site.pages["/answer"] = w.stream()
    arguments = (data, w.site.url + "/answer", w.site.url + "/hangup", *limit)
    async with process("fault_carrier", *arguments) as (carrier, call_id):
        async with asyncio.timeout(20):
            _, errors = await carrier.communicate()
        assert carrier.returncode == 0
    return call_id, errors.decode()


async def two_and_a_half_seconds(socket: Socket) -> None:
    await socket.play(NOISE * 25)
    await socket.send(event="checkpoint", name="before")
    await socket.until("media", 115)
    await socket.play(NOISE)
    await socket.send(event="checkpoint", name="after")
    await until(lambda: len(socket.all("playedStream")) == 2)


async def test_a_disk_that_is_full_for_recordings(tmp_path: Path) -> None:
    async with world(tmp_path / "of the bystander", two_and_a_half_seconds) as w:
        call_id, errors = await call_on_a_full_disk(w, tmp_path / "data", 40_000)
        folder = tmp_path / "data" / "calls" / call_id
        records = [json.loads(line) for line in (folder / LOG_NAME).read_text().splitlines()]
        (ended,) = [record for record in records if record["event"] == "ended"]
        assert (ended["code"], ended["ran_to_end"]) == (4010, True)
        assert [record["name"] for record in records if record["event"] == "played"] == ["before", "after"]
        (failed,) = [record for record in records if record["event"] == "evidence_failed"]
        assert (failed["file"], failed["text"]) == ("audio.wav", "File too large")
        lines = [line for line in errors.splitlines() if line.startswith("ERROR") and "records.db" not in line]
        assert len(lines) == 1, errors
        assert "audio.wav cannot be written" in lines[0]
        assert "The call goes on without it" in lines[0]
        assert check_wav(folder / RECORDING_NAME) == 8000
        assert [request.params["HangupCauseCode"] for request in w.site.asked("/hangup")] == ["4010"]


async def test_a_disk_that_is_full_for_everything(tmp_path: Path) -> None:
    async with world(tmp_path / "of the bystander", two_and_a_half_seconds) as w:
        call_id, errors = await call_on_a_full_disk(w, tmp_path / "data", 600)
        folder = tmp_path / "data" / "calls" / call_id
        assert whole_lines(folder / LOG_NAME)[:2] == ["call", "document"]
        assert check_wav(folder / RECORDING_NAME) == 0
        lines = [line for line in errors.splitlines() if line.startswith("ERROR")]
        failed = sorted(line.split(": ")[1] for line in lines if "records.db" not in line)
        assert failed == ["audio.wav cannot be written", "log.jsonl cannot be written"]
        missed = [line for line in lines if f"call {call_id}" in line and "records.db" in line]
        assert missed, "the record of the call is not there either, and the log says so"
        assert [request.params["HangupCauseCode"] for request in w.site.asked("/hangup")] == ["4010"]
