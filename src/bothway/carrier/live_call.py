"""One call on a node: the call machine and the media machine, joined to a leg, to streams and to what is reported."""

from __future__ import annotations

import asyncio
import logging
import time
import zlib
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal, Protocol

from bothway.carrier.call_report import FRAMES_A_SECOND, CallReport
from bothway.carrier.config import Account, Application
from bothway.carrier.leg import Leg
from bothway.carrier.node import Node
from bothway.carrier.prompts import prompt_audio
from bothway.carrier.stream_client import StreamClient, StreamEnd
from bothway.core.call import Call
from bothway.core.document import CallEvent
from bothway.core.execution import (
    Answer,
    CloseStream,
    Command,
    DocumentKind,
    End,
    Fetch,
    OpenStream,
    Prompt,
    RefuseStream,
    StopPrompt,
    cause,
)
from bothway.core.media import AudioCleared, Media, PromptPlayed
from bothway.core.stream import CarrierStream
from bothway.errors import BothwayError, UsageError
from bothway.runtime.driver import Driver
from bothway.runtime.http import redacted
from bothway.wire.content_type import parse_stream_content_type
from bothway.wire.extra_headers import wire_form
from bothway.wire.hangup import HangupCause
from bothway.wire.stream import SendDtmf, Start
from bothway.wire.verbs import Play, Stream
from bothway.wire.webhooks import CallFacts, answer_params, standard_params

__all__ = ["CallOwner", "LiveCall", "Party"]

logger = logging.getLogger(__name__)


class CallOwner(Protocol):
    """Whoever keeps the node's calls."""

    def call_ended(self, call: LiveCall) -> None:
        """The call is over and all of it is accounted for."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who calls whom.

    Attributes:
        from_: Who placed the call.
        to: Who was called.
        direction: `inbound` when it came from outside.
        sip_headers: `X-PH-…` headers that the call came with, by name.
    """

    from_: str
    to: str
    direction: Literal["inbound", "outbound"] = "inbound"
    sip_headers: tuple[tuple[str, str], ...] = ()


class LiveCall:
    """A call. It is the `LegSink` of its leg and the `StreamOwner` of its streams.

    Args:
        node: What all calls share.
        owner: Is told when it is over.
        leg: The caller.
        party: Who calls whom.
        application: What is to happen on the call.
        account: Whose call it is.
        call_id: Its UUID.

    Attributes:
        leg: The caller.
        call_id: Its UUID.
        account: Whose call it is.
        media: The call's audio, to be looked at; None until it is answered.
        accounted: Set when the call is over and all about it is done: callbacks delivered or given up, files closed.
    """

    def __init__(
        self,
        node: Node,
        owner: CallOwner,
        leg: Leg,
        party: Party,
        application: Application,
        account: Account,
        *,
        call_id: str,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._node = node
        self._owner = owner
        self.leg = leg
        self.call_id = call_id
        self.account = account
        self.accounted = asyncio.Event()
        born = self._loop.time()
        self._epoch = time.time() - born
        self._facts = CallFacts(
            call_uuid=call_id,
            from_=party.from_.lstrip("+"),
            to=party.to.lstrip("+"),
            direction=party.direction,
            auth_id=account.auth_id,
            session_start=_utc(self._epoch + born),
            bill_rate=node.price_per_minute,
            sip_headers=party.sip_headers,
        )
        self._report = CallReport(node, leg, self._facts, application, account, born=born, epoch=self._epoch)
        self._core = Call(application.plan(), node.profile)
        self._driver: Driver[Command, CallEvent] = Driver(self._core, self._obey, self._report.call_event)
        self.media: Media | None = None
        self._streams: dict[int, StreamClient] = {}
        self._attached: StreamClient | None = None  # the stream that the media machine has
        self._prompt: asyncio.Task[None] | None = None
        self._fetch: asyncio.Task[None] | None = None
        self._next_second = FRAMES_A_SECOND
        self._stream_failed = False

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self._core.end_cause is not None

    def start(self) -> None:
        """The call has come in."""
        self.leg.attach(self)
        self.leg.ringing(self.call_id)
        self._report.began(self.leg)
        self._core.start(self._loop.time())
        self._driver.after_input()

    def hangup(self, end_cause: HangupCause, detail: str = "") -> None:
        """End the call from outside."""
        self._core.hangup(end_cause, self._loop.time(), detail)
        self._driver.after_input()

    # What the leg tells.

    def caller_frame(self, frame: bytes) -> None:
        """20 ms of the caller."""
        if self.media is not None:
            self.media.receive_from_leg(frame)

    def caller_digit(self, digit: str) -> None:
        """The caller pressed a key."""
        self._report.record("dtmf", digit=digit)
        if self.media is not None:
            self.media.press(digit)
            self._flush(self.media)

    def caller_hung_up(self) -> None:
        """The caller has gone."""
        self._core.receive_hangup(self._loop.time())
        self._driver.after_input()

    # What the streams tell.

    def stream_opened(self, client: StreamClient) -> None:
        """A stream's socket is up."""
        if self.media is not None and not self.over:
            self.media.attach(client.stream)
            self._attached = client
        self._report.stream_opened(client)
        self._core.receive_stream_open(client.index, self._loop.time())
        self._driver.after_input()

    def stream_message(self, client: StreamClient, raw: bytes) -> None:
        """The app sent a message."""
        if self.media is not None and client is self._attached:
            self.media.receive_from_app(raw, self._loop.time())
            self._flush(self.media)

    def stream_mistake(self, client: StreamClient, code: str, text: str) -> None:
        """The app sent what it should not."""
        client.stream.mistakes[code] += 1
        if client.stream.mistakes[code] == 1:
            self._report.mistake(code, text)

    def stream_degraded(self, client: StreamClient, percent: int) -> None:
        """The app reads too slowly."""
        self._report.stream_degraded(client, percent)

    def stream_ended(self, client: StreamClient, end: StreamEnd) -> None:
        """A stream is over."""
        self._stream_failed = self._stream_failed or end.failed
        self._forget_stream(client, end.text, failed=end.failed)
        self._report.stream_status(client, "failed" if end.failed else "stopped", reason=end.word)
        self._core.receive_stream_end(client.index, self._loop.time())
        self._driver.after_input()

    # The ticker.

    def tick(self, now: float) -> None:
        """Move the frames that are due."""
        media = self.media
        if media is None:
            return
        media.tick(now)
        frames = media.to_leg()
        if not frames:
            return
        self.leg.send_frames(frames)
        if self._attached is not None:
            self._attached.send_media(media.to_send())
        self._note(media)
        if self.over:
            return  # a stream that was dropped, or a prompt that was heard, ended it
        if media.clock.taken >= self._next_second:
            self._next_second = media.clock.taken + FRAMES_A_SECOND
            self._report.count_second(media)

    def tick_failed(self, error: BaseException) -> None:
        """A tick raised: a fault of the carrier's, and the end of this call alone."""
        self.hangup(cause(5010, "Error"), f"a fault in the carrier: {type(error).__name__}")

    # What the call machine asks.

    def _obey(self, command: Command) -> None:
        if isinstance(command, Fetch):
            self._fetch = self._node.tasks.spawn(
                _guarded(self, partial(self._get_document, command)), f"document of {self.call_id}"
            )
        elif isinstance(command, Answer):
            start = self._node.ticker.join(self.tick, self.tick_failed)
            self.media = Media(self.leg.format, start=start, playout_seconds=self._node.profile.limits.playout_seconds)
            self._report.answered(self.media)
            self.leg.answered()
        elif isinstance(command, OpenStream):
            self._open_stream(command)
        elif isinstance(command, CloseStream):
            self._close_stream(command)
        elif isinstance(command, RefuseStream):
            self._stream_failed = True
            self._report.stream_refused(command.verb, command.reason)
        elif isinstance(command, Prompt):
            self._prompt = self._node.tasks.spawn(
                _guarded(self, partial(self._play_prompt, command)), f"prompt of {self.call_id}"
            )
        elif isinstance(command, StopPrompt):
            self._stop_prompt()
        elif isinstance(command, End):
            self._end(command)

    async def _get_document(self, fetch: Fetch) -> None:
        kind = fetch.kind.word
        if fetch.kind is DocumentKind.REDIRECT:
            status = "in-progress" if self._core.answered_at is not None else "ringing"
            params = standard_params(self._facts, event="Redirect", status=status)
        else:
            params = answer_params(self._facts)
        began = self._loop.time()
        try:
            body = await self._report.webhooks.fetch(kind, fetch.url, fetch.method, params)
        except BothwayError as error:
            self._report.record("document_failed", kind=kind, text=str(error))
            self._core.receive_failure(fetch.fetch_id, str(error), self._loop.time())
        else:
            took = round((self._loop.time() - began) * 1000, 1)
            self._report.record("document", kind=kind, bytes=len(body), ms=took)
            self._core.receive_document(fetch.fetch_id, body, self._loop.time())
        self._driver.after_input()

    async def _play_prompt(self, prompt: Prompt) -> None:
        media = self.media
        assert media is not None, "a prompt follows the answer"
        verb, heard = prompt.verb, False
        what = redacted(verb.url) if isinstance(verb, Play) else verb.plain()
        self._report.record("prompt", element=type(verb).__name__, text=what)
        try:
            async with aclosing(prompt_audio(self._node, verb, media.leg_format)) as chunks:
                async for chunk in chunks:
                    if not media.play_prompt(chunk):
                        raise UsageError("the prompt is too long to be queued")
                    heard = heard or bool(chunk)
            if not heard:  # an endless loop of it would fetch or say it again without a pause
                raise UsageError("there is nothing to hear in it")
        except BothwayError as error:
            heard = False
            self._report.record("prompt_failed", text=str(error))
            logger.warning("call %s: a prompt could not be made: %s", self.call_id, error)
        if heard:
            media.end_prompt(prompt.prompt_id, self._loop.time())
            self._note(media)
        else:
            self._core.receive_prompt_end(prompt.prompt_id, self._loop.time(), heard=False)
            self._driver.after_input()

    def _stop_prompt(self) -> None:
        if self._prompt is not None:
            self._prompt.cancel()
            self._prompt = None
        if self.media is not None:
            self.media.stop_prompts()

    def _open_stream(self, command: OpenStream) -> None:
        verb, profile = command.verb, self._node.profile
        auth_id = self.account.auth_id
        start = Start(
            stream_id=self._node.ids.uuid(),
            call_id=self.call_id,
            account_id=_numeric(auth_id) if profile.numeric_account else auth_id,
            tracks=_tracks(verb),
            format=parse_stream_content_type(verb.content_type) if verb.content_type else profile.default_format,
            extra_headers=wire_form(verb.extra_headers, brace=profile.brace_headers),
        )
        stream = CarrierStream(
            start, first_sequence=profile.first_sequence, epoch=self._epoch, bidirectional=verb.bidirectional
        )
        self._report.record("stream_opening", stream_id=start.stream_id)
        self._streams[command.index] = StreamClient(self._node, self, self.account, stream, verb, command.index)

    def _close_stream(self, command: CloseStream) -> None:
        client = self._streams.get(command.index)
        if client is None:
            return
        client.close(command.reason)
        self._forget_stream(client, command.reason, failed=False)
        self._report.stream_status(client, "stopped")
        self._core.receive_stream_end(command.index, self._loop.time())

    def _end(self, end: End) -> None:
        for client in list(self._streams.values()):
            client.close("call ended")
            self._forget_stream(client, "the call ended", failed=False)
            if self._node.profile.stopped_on_hangup and client.opened_at is not None:
                self._report.stream_status(client, "stopped")
        self._node.ticker.leave(self.tick)
        if self._fetch is not None and self._fetch is not asyncio.current_task():
            self._fetch.cancel()
        ran_to_end = end.ran_to_end and not self._stream_failed
        self._report.ended(end.cause, end.detail, answered_at=self._core.answered_at, ran_to_end=ran_to_end)
        self._driver.close()
        self._node.tasks.spawn(self._close(), f"end of {self.call_id}")
        self.leg.ended(
            end.cause, end.detail, ran_to_end=ran_to_end
        )  # last: whatever it does, the call is accounted for

    async def _close(self) -> None:
        try:
            await self._report.close()
        finally:
            self._owner.call_ended(self)
            self.accounted.set()

    def _forget_stream(self, client: StreamClient, text: str, *, failed: bool) -> None:
        self._streams.pop(client.index, None)
        if self._attached is client:
            if self.media is not None:
                self._note(self.media)
                self.media.detach()
                for event in self.media.events():
                    if isinstance(event, AudioCleared):
                        self._report.audio_dropped(event.ms)
            self._attached = None
        self._report.stream_ended(client, text, failed=failed)

    def _flush(self, media: Media) -> None:
        """After an input to the media machine outside a tick: send and note what it has."""
        if self._attached is not None:
            for message in media.to_send():
                self._attached.send(message)
        self._note(media)

    def _note(self, media: Media) -> None:
        prompts = []
        for event in media.events():
            if isinstance(event, PromptPlayed):
                prompts.append(event.prompt_id)
                continue
            self._report.media_event(event, self._attached)
            if isinstance(event, SendDtmf):
                self.leg.send_digits(event.digits)
        for prompt_id in prompts:  # last, because the document may go on, and end the call
            self._report.record("prompt_played")
            self._core.receive_prompt_end(prompt_id, self._loop.time())
            self._driver.after_input()


async def _guarded(call: LiveCall, work: Callable[[], Coroutine[None, None, None]]) -> None:
    """The outermost edge of a call's tasks: a fault of the carrier's in one of them ends this call, and no other."""
    try:
        await work()  # made here: a task that is cancelled before its first step leaves nothing behind
    except Exception as error:
        logger.exception("call %s: a task failed", call.call_id)
        call.hangup(cause(5010, "Error"), f"a fault in the carrier: {type(error).__name__}")


def _tracks(verb: Stream) -> tuple[str, ...]:
    return ("inbound", "outbound") if verb.audio_track == "both" else (verb.audio_track,)


def _numeric(auth_id: str) -> str:
    """A numeric account id that is always the same for one auth id, as the live system writes it."""
    return str(500_000 + zlib.crc32(auth_id.encode()) % 500_000)


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
