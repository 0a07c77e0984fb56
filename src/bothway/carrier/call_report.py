"""What a call leaves behind while it lives: records of its evidence, counters, log lines and callbacks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bothway.carrier.call_books import CallBooks
from bothway.carrier.call_order import CallOrder
from bothway.carrier.config import Account
from bothway.carrier.evidence import SCHEMA, Evidence
from bothway.carrier.leg import Leg
from bothway.carrier.node import Node
from bothway.carrier.store.records import OutboxItem
from bothway.carrier.stream_client import StreamClient
from bothway.carrier.webhook_client import WebhookClient
from bothway.core.document import CallEvent, DocumentRead, Remark, VerbStarted
from bothway.core.media import (
    AudioBegun,
    AudioCleared,
    AudioRefused,
    CheckpointPlayed,
    CheckpointQueued,
    Media,
    MediaEvent,
    StreamMistake,
    TimeSkipped,
)
from bothway.wire.hangup import HangupCause
from bothway.wire.stream import SendDtmf, Start
from bothway.wire.verbs import Stream
from bothway.wire.webhooks import CallFacts, StatusForm, StreamEvent, hangup_params, ring_params, stream_status_params

__all__ = ["FRAMES_A_SECOND", "CallReport"]

FRAMES_A_SECOND = 50
"""Frames of 20 ms."""
_DELIVERY_SECONDS = 120.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Counted:
    """What the last `media` record counted up to."""

    frames: int = 0
    gaps: int = 0
    overruns: int = 0
    slips: int = 0
    sounding: int = 0
    app_ms: float = 0.0


class CallReport:
    """The reporting side of one call.

    Args:
        node: What all calls share.
        leg: Gets every record, if it asked for them.
        facts: Of the call.
        order: Has the URLs that are told of the call.
        account: Whose token signs.
        born: When the call came in, on the event loop's clock.
        epoch: The Unix time at which that clock stood at zero.

    Attributes:
        media: Has the media clock, from the answer or early media on.
        hides_input: Whether keys and recognised words stay out of the log, for a verb with `log="false"`.
        webhooks: The way to the application's URLs, for what may be lost with the process.
        books: The call's records.
    """

    def __init__(
        self,
        node: Node,
        leg: Leg,
        facts: CallFacts,
        order: CallOrder,
        account: Account,
        *,
        born: float,
        epoch: float,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._node = node
        self._facts = facts
        self._order = order
        self._zone = account.zone
        self._born = born
        self._epoch = epoch
        self._counted = _Counted()
        self.media: Media | None = None
        self.hides_input = False
        folder = node.folder / "calls" / facts.call_uuid if node.folder is not None else None
        self._evidence = Evidence(node.writer, folder, on_record=leg.log, on_failure=self._evidence_failed)
        self.webhooks = WebhookClient(node, account, self.record)
        self._saving: set[asyncio.Future[None]] = set()
        self.books = CallBooks(node, facts, order, account)

    def moment(self, at: float) -> datetime:
        """The wall time of a time of the event loop's clock."""
        return datetime.fromtimestamp(self._epoch + at, UTC)

    def record(self, event: str, **facts: Any) -> None:
        """Put a record into the call's log."""
        t_ms = self.media.now_ms if self.media is not None else 0
        self._evidence.record(event, t_ms=t_ms, at=self._loop.time() - self._born, **facts)

    def began(self, leg: Leg) -> None:
        """The call has come in."""
        self._node.metrics.calls_active.inc()
        self.books.began()
        self.record(
            "call",
            schema=SCHEMA,
            call_id=self._facts.call_uuid,
            wall=self._facts.session_start.isoformat(timespec="milliseconds"),
            **{"from": self._facts.from_},
            to=self._facts.to,
            direction=self._facts.direction,
            leg=str(leg.format),
            profile=self._node.profile.name,
        )

    def rang(self) -> None:
        """The called party's telephone rings."""
        self.record("ringing")
        if self._order.ring_url is not None:
            self.webhooks.call_back("ring", self._order.ring_url, self._order.ring_method, ring_params(self._facts))

    def answered(self, media: Media) -> None:
        """The call was picked up: its media clock runs from here, unless there was early media."""
        self.hears(media)
        self.books.answered(self.moment(self._loop.time()))
        self.record("answered")

    def hears(self, media: Media) -> None:
        """The caller hears from now on: the media clock runs from here, and so does the recording."""
        if self.media is not None:
            return
        self.media = media
        if self._node.record_audio:
            recording = self._evidence.record_audio(media.leg_format)
            if recording is not None:
                media.add_tap(recording)

    def ended(self, end_cause: HangupCause, detail: str, *, answered_at: float | None, ran_to_end: bool) -> None:
        """The call is over: the log, the counters and the hangup URL hear of it."""
        if self.media is not None:
            self.count_second(self.media)
        self.record(
            "ended",
            code=end_cause.code,
            name=end_cause.name,
            source=end_cause.source,
            detail=detail,
            ran_to_end=ran_to_end,
        )
        logger.log(
            logging.INFO if ran_to_end else logging.WARNING,
            "call %s ended: %d %s, by %s%s",
            self._facts.call_uuid,
            end_cause.code,
            end_cause.name,
            end_cause.source,
            f": {detail}" if detail else "",
        )
        now = self._loop.time()
        params = hangup_params(
            self._facts,
            end_cause,
            start_time=self._facts.session_start,
            answer_time=self.books.call.answer_time,
            end_time=self.moment(now),
            zone=self._zone,
        )
        self._node.metrics.calls_active.dec()
        self._node.metrics.call_ended(params["CallStatus"], now - answered_at if answered_at is not None else 0.0)
        order, callback = self._order, None
        if order.hangup_url is not None:
            callback = self.books.callback("hangup", order.hangup_url, order.hangup_method, params, self.moment(now))
        saved = self.books.ended(end_cause, params["CallStatus"], self.moment(now), callback)
        if callback is not None:
            self._watch(saved, callback)

    async def close(self) -> None:
        """Deliver what is to be delivered, and close the files."""
        try:
            async with asyncio.timeout(_DELIVERY_SECONDS):
                await self._node.delivery.tried(self._facts.call_uuid, _DELIVERY_SECONDS)
                if self._saving:
                    await asyncio.wait(self._saving)
                await self.webhooks.close()
        except TimeoutError:
            self.record("callback", error="callbacks were still waiting long after the call: dropped")
        finally:
            self._evidence.close()

    def call_event(self, event: CallEvent) -> None:
        """Something happened to the document."""
        if isinstance(event, VerbStarted):
            self.record("verb", element=event.element)
        elif isinstance(event, Remark):
            self.remark(event.text)
        elif isinstance(event, DocumentRead):
            for diagnostic in event.diagnostics:
                self.remark(f"the answer document, line {diagnostic.line}, <{diagnostic.element}>: {diagnostic.text}")

    def remark(self, text: str) -> None:
        """Something that a person should look at."""
        self.record("remark", text=text)
        logger.warning("call %s: %s", self._facts.call_uuid, text)

    def media_event(self, event: MediaEvent, client: StreamClient | None) -> None:
        """Something happened to the audio."""
        metrics = self._node.metrics
        if isinstance(event, AudioBegun):
            self.record("play", ms=round(event.ms, 3))
        elif isinstance(event, CheckpointQueued):
            self.record("checkpoint", name=event.name, accepted=event.accepted)
        elif isinstance(event, CheckpointPlayed):
            metrics.checkpoints("played").inc()
            self.record("played", name=event.name)
            self.stream_status(client, "played", name=event.name)
        elif isinstance(event, AudioCleared):
            metrics.clears.inc()
            self.record("cleared", ms=round(event.ms, 3))
            self.stream_status(client, "cleared")
        elif isinstance(event, AudioRefused):
            metrics.playout_refused_chunks.inc()
            self.record("refused", ms=round(event.ms, 3), queued_ms=round(event.queued_ms, 3))
            logger.warning(
                "call %s: the app sent %.0f ms of audio that its full queue refused", self._facts.call_uuid, event.ms
            )
        elif isinstance(event, StreamMistake):
            self.mistake(event.mistake.code, event.mistake.text)
        elif isinstance(event, SendDtmf):
            self.record("send_dtmf", digits=event.digits)
        elif isinstance(event, TimeSkipped):
            self.remark(f"the carrier's machine stood still: {event.ms / 1000:g} s of the call are left out")

    def mistake(self, code: str, text: str) -> None:
        """The app did what the protocol does not have."""
        self._node.metrics.bad_message(code)
        self.record("mistake", code=code, text=text)
        logger.warning("call %s: the app made a mistake (%s): %s", self._facts.call_uuid, code, text)

    def count_second(self, media: Media) -> None:
        """One record for each second of media, so that a log stays small however long the call."""
        then = self._counted
        now = _Counted(
            media.clock.taken,
            media.caller_gaps,
            media.caller_overruns,
            media.clock.slips,
            media.sounding_frames,
            media.app_ms,
        )
        self._counted = now
        metrics = self._node.metrics
        metrics.frames_from_caller.inc(now.frames - then.frames)
        metrics.frames_to_caller.inc(now.frames - then.frames)
        metrics.frame_slips.inc(now.slips - then.slips)
        playout = media.playout
        self.record(
            "media",
            frames=now.frames,
            sounding=now.sounding - then.sounding,
            app_ms=round(now.app_ms - then.app_ms),
            gaps=now.gaps - then.gaps,
            overruns=now.overruns - then.overruns,
            slips=now.slips - then.slips,
            queued_ms=round(playout.queued_ms) if playout is not None else 0,
        )

    def stream_asked(self, start: Start, verb: Stream) -> None:
        """A stream is being opened."""
        self.record("stream_opening", stream_id=start.stream_id)
        self.books.stream_asked(start.stream_id, verb, str(start.format), self.moment(self._loop.time()))

    def stream_opened(self, client: StreamClient) -> None:
        """A stream's socket is up."""
        start = client.stream.start
        self._node.metrics.streams_active.inc()
        self.books.stream_opened(start.stream_id, self.moment(self._loop.time()))
        self.record("stream_started", stream_id=start.stream_id, format=str(start.format))
        self.stream_status(client, "started")

    def stream_degraded(self, client: StreamClient, percent: int) -> None:
        """The app reads too slowly."""
        self._node.metrics.streams_degraded.inc()
        self.record("stream_degraded", percent=percent)
        logger.warning("call %s: the app does not keep up, its buffer is %d %% full", self._facts.call_uuid, percent)
        self.stream_status(client, "degraded")

    def stream_ended(self, client: StreamClient, text: str, *, failed: bool) -> None:
        """A stream is over. Its status callback is another matter: not every end has one."""
        self.books.stream_ended(client.stream.start.stream_id, self.moment(self._loop.time()), failed=failed)
        if client.opened_at is not None:
            self._node.metrics.streams_active.dec()
        if not failed:
            self._node.metrics.streams("ended").inc()
        else:
            self._node.metrics.streams("failed" if client.opened_at is None else "dropped").inc()
            logger.warning("call %s: the stream failed: %s", self._facts.call_uuid, text)
        for code, count in client.stream.mistakes.items():
            if count > 1:
                self.record("mistakes", code=code, count=count)
                self._node.metrics.bad_message(code, count - 1)
        self.record("stream_ended", stream_id=client.stream.start.stream_id, text=text, failed=failed)

    def audio_dropped(self, ms: float) -> None:
        """A stream ended, and with it went audio that was queued: nobody asked for a clear."""
        self.record("dropped", ms=round(ms, 3))

    def stream_refused(self, verb: Stream, text: str) -> None:
        """A `<Stream>` could not be."""
        self._node.metrics.streams("failed").inc()
        self.record("stream_refused", text=text)
        logger.warning("call %s: %s", self._facts.call_uuid, text)
        word = "invalid_content_type" if verb.content_type and "contentType" in text else "connection_failed"
        self._stream_callback(verb, "failed", stream_id="", reason=word, opened_at=None, name="")

    def stream_status(
        self, client: StreamClient | None, event: StreamEvent, *, reason: str = "", name: str = ""
    ) -> None:
        """Tell the stream's status callback, if it has one."""
        if client is not None:
            stream_id = client.stream.start.stream_id
            self._stream_callback(
                client.verb, event, stream_id=stream_id, reason=reason, opened_at=client.opened_at, name=name
            )

    def _stream_callback(
        self, verb: Stream, event: StreamEvent, *, stream_id: str, reason: str, opened_at: float | None, name: str
    ) -> None:
        if not verb.status_callback_url:
            return
        # Another method may be just why the stream was refused.
        method = verb.status_callback_method if verb.status_callback_method in ("GET", "POST") else "POST"
        form: StatusForm = "documented" if self._node.profile.documented_callbacks else "live"
        now = self._loop.time()
        params = stream_status_params(
            form,
            event,
            self._facts,
            stream_id=stream_id,
            at=self.moment(now),
            service_url=verb.url,
            reason=reason if form == "documented" else "",
            duration=now - opened_at if opened_at is not None else None,
            name=name,
            callback_url=verb.status_callback_url,
            callback_method=verb.status_callback_method,
        )
        if params is not None:
            self.deliver("stream", verb.status_callback_url, method, params)

    def deliver(self, kind: str, url: str, method: str, params: Mapping[str, str]) -> None:
        """Send a callback that must not be lost: it is on disk before it is sent."""
        item = self.books.callback(kind, url, method, params, self.moment(self._loop.time()))
        self._watch(self._node.store.outbox.put(item), item)

    def _watch(self, saved: asyncio.Future[None], item: OutboxItem) -> None:
        """A callback that cannot be written down is sent at once: better not durable than not at all."""

        def look(done: asyncio.Future[None]) -> None:
            self._saving.discard(done)
            if not done.cancelled() and done.exception() is not None:
                self.webhooks.call_back(item.kind, item.url, item.method, item.params)

        self._saving.add(saved)
        saved.add_done_callback(look)

    def _evidence_failed(self, name: str, error: OSError) -> None:
        self._node.metrics.evidence_write_failures.inc()
        logger.error(
            "call %s: %s cannot be written: %s. The call goes on without it", self._facts.call_uuid, name, error
        )
        self.record("evidence_failed", file=name, text=error.strerror or str(error))
