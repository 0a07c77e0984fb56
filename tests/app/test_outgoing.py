"""What is played, in virtual time: flow control, order, clears, and carriers that do not answer."""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.app.fake_carrier import start_message
from tests.app.listed_duplex import ListedDuplex

from bothway.app.outgoing import ACK_GRACE, MAX_MESSAGE_AUDIO, MAX_UNPLAYED_MS, MAX_UNSENT, Outgoing
from bothway.core.stream import AppStream
from bothway.errors import UsageError
from bothway.testing.virtual_loop import run
from bothway.wire.stream import ClearedAudio, PlayedStream

FRAME = b"\x55" * 160
SECOND = b"\x55" * 8000


class World:
    """One stream, and a far end that plays in virtual time and answers if it is asked to."""

    def __init__(self, *, encoding: str = "audio/x-mulaw", rate: int = 8000) -> None:
        self.stream = AppStream()
        self.duplex = ListedDuplex()
        self.loop = asyncio.get_running_loop()
        self.stream.receive(start_message(encoding=encoding, rate=rate).encode(), self.loop.time())
        self.stream.events()
        self.stuck: list[str] = []
        self.out = Outgoing(self.stream, self.duplex, lambda: self.stuck.append("stuck"))
        self.ledger = self.stream.ledger

    def receive(self, event: str, name: str = "") -> None:
        self.stream.receive(json.dumps({"event": event, "name": name}).encode(), self.loop.time())
        for found in self.stream.events():
            if isinstance(found, PlayedStream):
                self.out.receive_played(found.name)
            elif isinstance(found, ClearedAudio):
                self.out.receive_cleared()

    async def carrier(self) -> None:
        """Play what was sent in real (that is, virtual) time, and answer."""
        done, due = 0, self.loop.time()
        while True:
            if done == len(self.duplex.sent):
                await asyncio.sleep(0.001)
                continue
            message = self.duplex.sent[done]
            done += 1
            if message["event"] == "playAudio":
                due = max(due, self.loop.time()) + len(message["media"]["payload"]) * 3 // 4 / 8000
                while self.loop.time() < due and "clearAudio" not in self.duplex.events()[done:]:  # noqa: ASYNC110 - virtual
                    await asyncio.sleep(0.001)
            elif message["event"] == "checkpoint":
                self.receive("playedStream", message["name"])
            elif message["event"] == "clearAudio":
                self.receive("clearedAudio")
            if "clearAudio" in self.duplex.events()[done:]:
                done = self.duplex.events().index("clearAudio", done)


def in_world(test: Callable[[World], Awaitable[None]], *, answers: bool = True, **options: Any) -> None:
    async def main() -> None:
        world = World(**options)
        far = asyncio.create_task(world.carrier()) if answers else None
        await test(world)
        world.out.end()
        if far is not None:
            far.cancel()
            await asyncio.gather(far, return_exceptions=True)

    run(main())


async def chunks(*audio: bytes) -> AsyncIterator[bytes]:
    for one in audio:
        yield one


def test_a_long_play_is_cut_marked_and_held_back() -> None:
    async def test(world: World) -> None:
        began = world.loop.time()
        utterance = await world.out.play(chunks(SECOND * 50), "all of it")
        # The last 20 s are at the carrier, which takes a millisecond to see each second's checkpoint.
        assert world.loop.time() - began == pytest.approx(30.030)
        assert world.ledger.unplayed_ms == MAX_UNPLAYED_MS
        await world.out.played()
        assert world.loop.time() - began == pytest.approx(50.050)
        assert utterance.settled
        assert utterance.heard_text == "all of it"
        since = 0.0
        for message in world.duplex.sent:
            if message["event"] == "checkpoint":
                since = 0.0
            else:
                size = len(message["media"]["payload"])
                assert size <= MAX_MESSAGE_AUDIO * 4 // 3
                since += size * 3 // 4 / 8
                assert since <= 1000.5

    in_world(test)


def test_wide_audio_is_cut_at_whole_frames_of_at_most_16_kb() -> None:
    async def test(world: World) -> None:
        await world.out.play(chunks(b"\x01\x02" * 16000 * 3), "")
        sizes = [len(b64decode(m["media"]["payload"])) for m in world.duplex.sent if m["event"] == "playAudio"]
        assert max(sizes) == 12160
        assert all(size % 640 == 0 for size in sizes)

    in_world(test, encoding="audio/x-l16", rate=16000)


def test_short_pieces_go_at_once_and_are_one_wordless_utterance() -> None:
    async def test(world: World) -> None:
        first = world.out.play_now(FRAME)
        assert first is world.out.play_now(FRAME)
        assert first is not None
        assert world.duplex.events() == ["playAudio"] * 2
        assert first.sent_ms == 40
        await asyncio.sleep(1.1)  # a second after the first, the tail gets its checkpoint
        assert world.duplex.events() == ["playAudio"] * 2 + ["checkpoint"]
        assert world.ledger.unplayed_ms == 0
        await world.out.play(chunks(FRAME), "words")
        assert first.settled
        assert world.out.play_now(FRAME) is not first

    in_world(test)


def test_the_straight_path_leaves_the_rest_to_the_other() -> None:
    async def test(world: World) -> None:
        assert world.out.play_now(SECOND + FRAME) is None  # more than one message
        for _ in range(20):
            assert world.out.play_now(SECOND) is not None
        assert world.out.play_now(FRAME) is None  # 20 s wait
        world.receive("playedStream", "bothway:1")
        assert world.out.play_now(SECOND) is not None
        world.out.end()
        assert world.out.play_now(FRAME) is None

    in_world(test, answers=False)


def test_half_a_sample_takes_the_other_path() -> None:
    async def test(world: World) -> None:
        assert world.out.play_now(b"abc") is None
        assert world.out.play_now(b"ab") is not None

    in_world(test, encoding="audio/x-l16", rate=16000)


def test_plays_at_the_same_time_keep_their_order() -> None:
    async def test(world: World) -> None:
        plays = [asyncio.create_task(world.out.play(chunks(SECOND * 15, bytes([n]) * 160), str(n))) for n in range(3)]
        await asyncio.sleep(0)
        assert world.out.play_now(FRAME) is None  # its turn comes last
        plays.append(asyncio.create_task(world.out.play(chunks(FRAME), "3")))
        waited = asyncio.create_task(world.out.played())
        utterances = await asyncio.gather(*plays)
        await waited
        assert [u.heard_text for u in utterances] == ["0", "1", "2", "3"]
        assert [u.sent_ms for u in utterances] == [15020, 15020, 15020, 20]

    in_world(test)


def test_a_clear_ends_everything_before_it_and_nothing_after() -> None:
    async def test(world: World) -> None:
        async def endless() -> AsyncIterator[bytes]:
            yield SECOND * 3
            await asyncio.sleep(1000)
            raise AssertionError("a clear does not wait for the source")

        playing = asyncio.create_task(world.out.play(endless(), "one two three four five six"))
        queued = asyncio.create_task(world.out.play(chunks(SECOND), "never begun"))
        waiting = asyncio.create_task(world.out.played())
        await asyncio.sleep(1.5)
        mark = world.out.checkpoint("mine")
        assert world.out.clear()
        began = world.loop.time()
        first, second, _ = await asyncio.gather(playing, queued, waiting)
        assert world.loop.time() == began
        assert await mark is False
        assert first.heard_ms == pytest.approx(1498), "the carrier took 2 ms to see what it got"
        assert first.settled
        assert not first.complete
        assert (second.sent_ms, second.settled, second.heard_text) == (0, True, "")
        after = await world.out.play(chunks(FRAME), "after")
        await world.out.played()
        assert after.heard_text == "after"
        assert not world.out.clear()
        assert world.duplex.events().count("clearAudio") == 1

    in_world(test)


def test_nothing_to_clear_says_nothing_and_still_ends_what_waits() -> None:
    async def test(world: World) -> None:
        async def silent() -> AsyncIterator[bytes]:
            await asyncio.sleep(1000)
            yield b""

        playing = asyncio.create_task(world.out.play(silent(), "thinking"))
        await asyncio.sleep(0.01)
        assert not world.out.clear()
        assert (await playing).sent_ms == 0
        assert world.duplex.sent == []

    in_world(test)


def test_a_source_that_fails_fails_its_play_alone() -> None:
    async def test(world: World) -> None:
        async def broken() -> AsyncIterator[bytes]:
            yield SECOND
            raise TimeoutError("the voice did not answer")

        with pytest.raises(TimeoutError, match="did not answer"):
            await world.out.play(broken(), "half of")
        await world.out.play(chunks(FRAME), "and on")
        await world.out.played()
        assert world.ledger.heard_ms() == 1020
        assert not world.ledger.utterances[0].complete

    in_world(test)


def test_a_carrier_that_never_answers_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    async def test(world: World) -> None:
        began = world.loop.time()
        await world.out.play(chunks(SECOND * 2), "heard, as far as anybody knows")
        await world.out.played()
        assert world.loop.time() - began == pytest.approx(2 + ACK_GRACE)
        assert world.ledger.unplayed_ms == 0
        again = world.loop.time()
        await world.out.play(chunks(SECOND * 60), "")
        await world.out.played()
        assert world.loop.time() - again == pytest.approx(60)  # its silence is not waited for any more
        assert world.out.clear() is False
        world.out.play_now(SECOND)
        assert world.out.clear()
        await asyncio.sleep(0.1)
        assert world.ledger.unplayed_ms == 0

    with caplog.at_level(logging.WARNING):
        in_world(test, answers=False)
    assert sum("did not answer in time" in str(record.msg) for record in caplog.records) == 1


def test_a_checkpoint_is_heard_cleared_or_over() -> None:
    async def test(world: World) -> None:
        assert await world.out.checkpoint("nothing before it")
        world.out.play_now(SECOND)
        heard = world.out.checkpoint("a")
        given_up = world.out.checkpoint("b")
        given_up.cancel()
        assert not heard.done()
        assert await heard
        world.out.play_now(SECOND)
        over = world.out.checkpoint("c")
        world.out.end()
        world.out.end()
        assert await over is False
        assert await world.out.checkpoint("d") is False
        with pytest.raises(UsageError):
            world.out.checkpoint("")

    in_world(test)


def test_what_a_clear_without_an_answer_took_is_not_heard() -> None:
    async def test(world: World) -> None:
        world.out.play_now(SECOND)
        gone = world.out.checkpoint("gone")
        world.out.clear()
        world.out.play_now(FRAME)
        there = world.out.checkpoint("there")
        world.receive("playedStream", "there")
        assert (await gone, await there) == (False, True)

    in_world(test, answers=False)


def test_a_carrier_that_does_not_read_is_noticed() -> None:
    async def test(world: World) -> None:
        world.out.play_now(FRAME)
        world.duplex.unsent_bytes = MAX_UNSENT + 1
        world.out.send_dtmf("1")
        assert world.stuck == ["stuck"]

    in_world(test)


def test_playing_to_nobody_in_a_loop_does_not_hold_the_loop() -> None:
    async def test(world: World) -> None:
        world.out.end()
        began = world.loop.time()
        for _ in range(10):
            utterance = await world.out.play(chunks(SECOND), "hello?")
            assert utterance.settled
            await world.out.played()
        assert world.loop.time() - began == pytest.approx(0.4), "20 ms for each of twenty"
        assert world.duplex.sent == []

    in_world(test)
