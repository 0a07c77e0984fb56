"""What REST plays and says over a live call (plivo-protocol.md, 5.5)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.carrier.rest_client import waiting
from tests.carrier.world import Socket, listen, page, until

from bothway.audio.format import MULAW_8K
from bothway.audio.tones import tone
from bothway.audio.transcode import from_l16
from bothway.audio.wav import wav_header

pytestmark = pytest.mark.virtual_time

LOUD = b"\x11" * 160


def wav(frames: int, hertz: float = 440) -> bytes:
    l16 = tone(hertz, frames * 20, 8000)
    return wav_header(8000, 1, len(l16)) + l16


async def test_a_file_is_played_over_the_call_and_stopped(tmp_path: Path) -> None:
    async with waiting(tmp_path) as (w, rest, caller, path):
        w.site.pages["/a.wav"] = page(wav(10), "200 OK")
        expected = from_l16(tone(440, 200, 8000), MULAW_8K.encoding)
        frames = [expected[start : start + 160] for start in range(0, len(expected), 160)]
        answer = await rest.post(path + "Play/", urls=w.site.url + "/a.wav")
        assert (answer.status, answer["message"]) == (202, "play started")
        await until(lambda: caller.heard[-10:] != frames and any(frame == frames[-1] for frame in caller.heard))
        first = caller.heard.index(frames[0])
        assert caller.heard[first : first + 10] == frames
        await rest.post(path + "Play/", urls=w.site.url + "/a.wav", loop=True)
        await asyncio.sleep(3)
        assert caller.heard[-1] != MULAW_8K.silent_frame
        assert (await rest.delete(path + "Play/")).status == 204
        await asyncio.sleep(0.1)
        assert caller.heard[-1] == MULAW_8K.silent_frame
        await rest.post(path + "Play/", urls=w.site.url + "/a.wav", loop=True, length=2)
        await asyncio.sleep(3)
        assert caller.heard[-1] == MULAW_8K.silent_frame
        await rest.post(path + "Play/", urls=w.site.url + "/nothing.wav")
        await until(lambda: caller.events("overlay_failed"))


async def test_what_is_played_ends_with_the_call(tmp_path: Path) -> None:
    async with waiting(tmp_path) as (w, rest, caller, path):
        w.site.pages["/a.wav"] = page(wav(10), "200 OK")
        await rest.post(path + "Play/", urls=w.site.url + "/a.wav", loop=True)
        await asyncio.sleep(1)
        caller.hang_up()
        await w.over(caller)
        assert f"play of {caller.call_id}" not in [task.get_name() for task in asyncio.all_tasks()]


async def play_for_ever(socket: Socket) -> None:
    for _ in range(4):
        await socket.play(LOUD * 250)
    await listen(socket)


@pytest.mark.parametrize("mix", [True, False])
async def test_what_is_said_is_mixed_with_the_stream_or_takes_its_place(tmp_path: Path, mix: bool) -> None:
    document = "<Response><Stream bidirectional='true' keepCallAlive='true'>STREAM</Stream></Response>"
    async with waiting(tmp_path, document, play_for_ever) as (_, rest, caller, path):
        await caller.hears(LOUD)
        before = len(caller.heard)
        answer = await rest.post(path + "Speak/", text="one two three", mix=mix)
        assert (answer.status, answer["message"]) == (202, "speak started")
        await asyncio.sleep(0.4)
        during = caller.heard[before + 5 : before + 15]
        assert LOUD not in during
        quiet = [frame for frame in during if frame == MULAW_8K.silent_frame]
        assert not quiet if mix else True
        assert (await rest.delete(path + "Speak/")).status in (200, 204)
        await asyncio.sleep(0.1)
        assert caller.heard[-1] == LOUD
        # The other resource stops what it began, and nothing else.
        await rest.post(path + "Speak/", text="one two three four five", mix=mix)
        await rest.delete(path + "Play/")
        await asyncio.sleep(0.4)
        assert caller.heard[-1] != LOUD or not mix
