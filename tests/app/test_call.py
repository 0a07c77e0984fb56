"""Calls by the package's own server and by uvicorn: both give the same transcript."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.app.fake_carrier import (
    CALL,
    FRAME,
    PATIENCE,
    STREAM,
    Answer,
    FakeCarrier,
    ask,
    dialled,
    dtmf_message,
    new_app,
    served_by_uvicorn,
    start_message,
)
from tests.serving import served

from bothway import App, Call, UsageError
from bothway.audio.format import L16_8K, MULAW_8K
from bothway.core.ledger import Utterance

pytestmark = pytest.mark.virtual_time

SECOND = b"\x40" * 8000


@pytest.fixture(params=["server", "uvicorn"])
def serve(request: pytest.FixtureRequest) -> Any:
    return served if request.param == "server" else served_by_uvicorn


async def answered(url: str) -> Answer:
    answer = await ask(f"{url}/answer?tenant=42&plan=a%20b")
    assert answer.status == 200
    return answer


@pytest.mark.usefixtures("both_times")
async def test_a_conversation(serve: Any) -> None:
    app = new_app()
    calls: list[Call] = []
    heard: list[bytes] = []
    keys: list[str] = []
    said: list[Utterance] = []

    @app.answer("/answer", extra_headers={"tier": "gold"})
    async def talk(call: Call) -> None:
        calls.append(call)
        said.append(await call.play(SECOND, text="good morning"))
        await call.played()
        async for frame in call.audio():
            heard.append(frame)
            if len(heard) == 3:
                break
        async for digit in call.dtmf():
            keys.append(digit)
            if digit == "#":
                break
        call.send_dtmf("12")
        assert await call.checkpoint("end")

    async with serve(app) as url:
        answer = await answered(url)
        assert answer.stream.bidirectional
        assert answer.stream.keep_call_alive
        assert answer.stream.content_type == "audio/x-mulaw;rate=8000"
        assert answer.stream.extra_headers == "tier=gold"
        async with dialled(answer.stream.url) as carrier:
            await carrier.until(lambda: len(carrier.heard) == len(SECOND))
            await carrier.say(*([FRAME] * 3))
            await carrier.send(dtmf_message("5"))
            await carrier.send(dtmf_message("#"))
            assert await carrier.until_closed() == (1000, "")
            assert carrier.heard == SECOND
            assert carrier.ours == ["play 1000", "dtmf 12", "checkpoint end"]
    call = calls[0]
    assert (call.id, call.stream_id) == (CALL, STREAM)
    assert (call.from_, call.to, call.direction) == ("14155550100", "14155550199", "inbound")
    assert call.query == {"tenant": "42", "plan": "a b"}
    assert call.headers["tier"] == "gold"
    assert call.format == MULAW_8K
    assert heard == [FRAME] * 3
    assert keys == ["5", "#"]
    assert said[0].settled
    assert said[0].heard_text == "good morning"
    assert call.ledger.heard_ms() == 1000
    assert call.ended
    assert call.ended.reason == "the handler returned"


async def test_the_caller_leaves_with_or_without_stop(serve: Any) -> None:
    for stop in (True, False):
        app = new_app()
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

        @app.answer("/answer")
        async def listen(call: Call, done: asyncio.Future[list[Any]] = done) -> None:
            frames = [frame async for frame in call.audio()]
            digits = [digit async for digit in call.dtmf()]
            await call.ended
            utterance = await call.play(SECOND, text="too late")
            await call.play(FRAME)
            await call.played()
            call.send_dtmf("1")
            call.stop_stream()
            reached = await call.checkpoint("late")
            done.set_result([frames, digits, bool(call.ended), utterance, call.clear(), reached])

        async with serve(app) as url:
            answer = await answered(url)
            async with dialled(answer.stream.url) as carrier:
                await carrier.say(FRAME, FRAME)
                if stop:
                    await carrier.send(f'{{"event":"stop","streamId":"{STREAM}","reason":"call ended"}}')
                else:
                    await carrier.socket.close()
                await carrier.until_closed()
            frames, digits, ended, utterance, cleared, reached = await asyncio.wait_for(done, PATIENCE)
        assert (frames, digits, ended, cleared, reached) == ([FRAME, FRAME], [], True, False, False)
        assert utterance.settled
        assert utterance.heard_text == ""


async def test_barge_in(serve: Any) -> None:
    app = new_app()
    result: list[Any] = []

    @app.answer("/answer")
    async def interrupted(call: Call) -> None:
        async def speech() -> AsyncIterator[bytes]:
            try:
                for _ in range(100):
                    yield SECOND
            finally:
                result.append("speech was closed")

        marked = call.checkpoint("before")
        playing = asyncio.create_task(call.play(speech(), text="a very long story " * 100))
        waiting = asyncio.create_task(call.played())
        async for _ in call.audio():
            break
        late = call.checkpoint("dropped")
        assert call.clear()
        assert not call.clear()  # nothing was sent since
        utterance = await playing
        await waiting
        result.extend([await marked, await late, utterance])
        await call.play(FRAME)

    async with serve(app) as url:
        answer = await answered(url)
        async with dialled(answer.stream.url) as carrier:
            await carrier.until(lambda: sum(event == "play 1000" for event in carrier.got) == 20)
            await carrier.say(FRAME)
            assert await carrier.until_closed() == (1000, "")
            assert carrier.most_queued_ms <= 20_000
            assert carrier.ours == ["checkpoint before", *["play 1000"] * 20, "checkpoint dropped", "clear", "play 20"]
    closed, marked, late, utterance = result
    assert closed == "speech was closed"
    assert (marked, late) == (True, False)
    assert not utterance.complete
    assert utterance.settled
    assert utterance.cleared_ms == 20_000


async def test_what_was_sent_is_heard_before_the_stream_closes(serve: Any) -> None:
    app = new_app()

    @app.answer("/answer")
    async def goodbye(call: Call) -> None:
        await call.play(SECOND)
        await call.play(FRAME)

    async with serve(app) as url:
        answer = await answered(url)
        async with dialled(answer.stream.url) as carrier:
            assert await carrier.until_closed() == (1000, "")
            assert carrier.heard == SECOND + FRAME


async def test_other_formats_are_converted(serve: Any, tmp_path: Any) -> None:
    from bothway.audio.wav import write_wav

    write_wav(tmp_path / "hello.wav", L16_8K, b"\x00\x00" * 8000)
    app = new_app()

    @app.answer("/answer")
    async def play(call: Call) -> None:
        await call.play(tmp_path / "hello.wav")
        await call.play([b"\x00", b"\x00" * 319], format=L16_8K)

    async with serve(app) as url:
        answer = await answered(url)
        async with dialled(answer.stream.url) as carrier:
            await carrier.until_closed()
            assert carrier.heard == b"\xff" * 8160


async def test_the_stream_s_own_format_is_what_start_says(serve: Any) -> None:
    app = new_app()
    formats: list[Any] = []

    @app.answer("/answer", content_type="audio/x-l16;rate=16000")
    async def echo(call: Call) -> None:
        formats.append(call.format)
        async for frame in call.audio():
            await call.play(frame)
            break

    async with serve(app) as url:
        answer = await answered(url)
        async with dialled(answer.stream.url, start=start_message(encoding="audio/x-l16", rate=16000)) as carrier:
            await carrier.say(b"\x01\x02" * 160, b"\x01\x02" * 160, b"")  # two messages of 10 ms are one frame
            await carrier.until_closed()
            assert carrier.heard == b"\x01\x02" * 320
    assert str(formats[0]) == "audio/x-l16;rate=16000"


async def test_stop_stream_and_fresh_audio(serve: Any) -> None:
    app = new_app()
    firsts: list[bytes] = []

    @app.answer("/answer")
    async def pause(call: Call) -> None:
        async for _ in call.dtmf():
            break
        async for frame in call.audio(fresh=True):
            firsts.append(frame)
            break
        call.stop_stream()
        assert call.ended.reason == "the app stopped the stream"

    async with serve(app) as url:
        answer = await answered(url)
        async with dialled(answer.stream.url) as carrier:
            await carrier.say(FRAME, FRAME)
            await carrier.send(dtmf_message("1"))
            async with asyncio.timeout(PATIENCE):
                while not firsts:
                    await carrier.say(FRAME[::-1])
                    await asyncio.sleep(0.01)
            assert await carrier.until_closed() == (1000, "")
    assert firsts == [FRAME[::-1]]


async def one_call(app: App) -> FakeCarrier:
    async with served(app) as url, dialled((await ask(f"{url}/answer")).stream.url) as carrier:
        await carrier.until_closed()
        return carrier


async def test_what_cannot_be_played_is_the_handler_s_mistake() -> None:
    app = new_app()
    errors: list[str] = []

    @app.answer("/answer")
    async def wrong(call: Call) -> None:
        for source in (7, [1], b"RIFF....WAVEfmt " * 1000, "/no/such/file.wav"):
            with pytest.raises(UsageError) as caught:
                await call.play(source)  # type: ignore[arg-type]
            errors.append(str(caught.value))
        with pytest.raises(UsageError, match="takes no format"):
            await call.play("x.wav", format=MULAW_8K)
        with pytest.raises(UsageError, match="no track 'outbound'"):
            call.audio(track="outbound")
        with pytest.raises(UsageError, match="not all keys"):
            call.send_dtmf("x")
        for name in ("", "bothway:1", "n" * 513):
            with pytest.raises(UsageError, match="checkpoint's name"):
                call.checkpoint(name)
        first = asyncio.ensure_future(anext(call.audio()))
        await asyncio.sleep(0)
        with pytest.raises(UsageError, match="two loops"):
            await anext(call.audio())
        first.cancel()

    carrier = await one_call(app)
    assert carrier.closed == (1000, "")
    assert "not int" in errors[0]
    assert "gave int" in errors[1]
    assert "WAV file with its header" in errors[2]
    assert "/no/such/file.wav cannot be read" in errors[3]


async def test_hanging_up_needs_an_account() -> None:
    app = new_app(auth_id="")
    errors: list[str] = []

    @app.answer("/answer")
    async def hang_up(call: Call) -> None:
        with pytest.raises(UsageError) as caught:
            await call.hangup()
        errors.append(str(caught.value))

    await one_call(app)
    assert "PLIVO_AUTH_ID" in errors[0]


async def test_a_one_way_stream_only_listens() -> None:
    app = new_app()
    ok: list[bool] = []

    @app.answer("/answer", bidirectional=False, track="both")
    async def listen(call: Call) -> None:
        with pytest.raises(UsageError, match="one-way"):
            await call.play(FRAME)
        with pytest.raises(UsageError, match="one-way"):
            call.checkpoint("x")
        with pytest.raises(UsageError, match="one-way"):
            call.send_dtmf("1")
        await call.played()
        ok.append(not call.clear())

    carrier = await one_call(app)
    assert (carrier.closed, carrier.got, ok) == ((1000, ""), [], [True])
