"""The streams of one call: opened and closed as the document or REST asks, joined to the call's audio."""

from __future__ import annotations

import asyncio
import zlib
from typing import Protocol

from bothway.audio.format import AudioFormat
from bothway.carrier.call_report import CallReport
from bothway.carrier.config import Account
from bothway.carrier.node import Node
from bothway.carrier.stream_client import StreamClient, StreamEnd
from bothway.core.call import Call
from bothway.core.execution import CloseStream, OpenStream, RefuseStream
from bothway.core.media import AudioCleared, Media, MediaEvent
from bothway.core.stream import CarrierStream
from bothway.core.stream_path import FrameFilter
from bothway.errors import UsageError
from bothway.speech.denoise import Denoiser
from bothway.wire.content_type import parse_stream_content_type
from bothway.wire.extra_headers import wire_form
from bothway.wire.stream import Start
from bothway.wire.verbs import Stream

__all__ = ["CallStreams", "StreamCall"]


class StreamCall(Protocol):
    """The call that the streams belong to.

    Attributes:
        node: What all calls share.
        account: Whose call it is.
        call_id: Its UUID.
        epoch: The Unix time at which the event loop's clock stood at zero.
        media: Its audio; None until there is any.
        report: Where what happens is told.
    """

    node: Node
    account: Account
    call_id: str
    epoch: float
    media: Media | None
    report: CallReport

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        ...

    def after_input(self) -> None:
        """The call machine was told something: do what it asks for."""

    def note(self, media: Media) -> None:
        """The media machine was told something: note what happened."""


class CallStreams:
    """It is the `StreamOwner` of the call's streams.

    Args:
        call: Whose streams they are.
        core: Its call machine.

    Attributes:
        clients: The streams that are open or being opened, by the call machine's index.
        any_failed: Whether one of them broke, or could not be opened.
    """

    def __init__(self, call: StreamCall, core: Call) -> None:
        self._loop = asyncio.get_running_loop()
        self._call = call
        self._core = core
        self.clients: dict[int, StreamClient] = {}
        self._attached: dict[str, StreamClient] = {}  # those that the media machine has, by stream id
        self.any_failed = False

    # What the call machine asks.

    def open(self, command: OpenStream) -> None:
        """Open a stream."""
        call, verb = self._call, command.verb
        profile, auth_id = call.node.profile, call.account.auth_id
        start = Start(
            stream_id=call.node.ids.uuid(),
            call_id=call.call_id,
            account_id=_numeric(auth_id) if profile.numeric_account else auth_id,
            tracks=_tracks(verb),
            format=parse_stream_content_type(verb.content_type) if verb.content_type else profile.default_format,
            extra_headers=wire_form(verb.extra_headers, brace=profile.brace_headers),
        )
        stream = CarrierStream(
            start, first_sequence=profile.first_sequence, epoch=call.epoch, bidirectional=verb.bidirectional
        )
        call.report.stream_asked(start, verb)
        self.clients[command.index] = StreamClient(call.node, self, call.account, stream, verb, command.index)

    def close(self, command: CloseStream) -> None:
        """Close a stream."""
        client = self.clients.get(command.index)
        if client is None:
            return
        client.close(command.reason)
        self._forget(client, command.reason, failed=False)
        self._call.report.stream_status(client, "stopped")
        self._core.receive_stream_end(command.index, self._loop.time())

    def stop(self, reason: str, stream_id: str | None = None) -> bool:
        """Close the stream of this id, or all of them, as REST asks. Whether there was one."""
        found = [client for client in self.clients.values() if stream_id in (None, client.stream.start.stream_id)]
        for client in found:
            self.close(CloseStream(client.index, reason))
        self._call.after_input()
        return bool(found)

    def refuse(self, command: RefuseStream) -> None:
        """A stream cannot be."""
        self.any_failed = True
        self._call.report.stream_refused(command.verb, command.reason)

    def end(self) -> None:
        """The call is over: close them all."""
        for client in list(self.clients.values()):
            client.close("call ended")
            self._forget(client, "the call ended", failed=False)
            if self._call.node.profile.stopped_on_hangup and client.opened_at is not None:
                self._call.report.stream_status(client, "stopped")

    # The call's audio.

    def send_media(self, media: Media) -> None:
        """After a tick."""
        for client in list(self._attached.values()):  # one that is dropped leaves
            client.send_media(media.to_send(client.stream))

    def flush(self, media: Media) -> None:
        """After an input to the media machine outside a tick: send what it has."""
        for client in list(self._attached.values()):
            for message in media.to_send(client.stream):
                client.send(message)

    def client_of(self, event: MediaEvent) -> StreamClient | None:
        """The stream that an event of the media machine is about, if it is about one that is attached."""
        return self._attached.get(getattr(event, "stream_id", ""))

    # What the streams tell.

    def stream_opened(self, client: StreamClient) -> None:
        """A stream's socket is up."""
        call = self._call
        if call.media is not None and not call.over:
            call.media.attach(client.stream, denoise=self._denoise(client.verb, call.media.leg_format))
            self._attached[client.stream.start.stream_id] = client
        call.report.stream_opened(client)
        self._core.receive_stream_open(client.index, self._loop.time())
        call.after_input()

    def stream_message(self, client: StreamClient, raw: bytes) -> None:
        """The app sent a message."""
        media = self._call.media
        if media is not None and client.stream.start.stream_id in self._attached:
            media.receive_from_app(raw, self._loop.time(), client.stream)
            self.flush(media)
            self._call.note(media)

    def stream_mistake(self, client: StreamClient, code: str, text: str) -> None:
        """The app sent what it should not."""
        client.stream.mistakes[code] += 1
        if client.stream.mistakes[code] == 1:
            self._call.report.mistake(code, text)

    def stream_degraded(self, client: StreamClient, percent: int) -> None:
        """The app reads too slowly."""
        self._call.report.stream_degraded(client, percent)

    def stream_ended(self, client: StreamClient, end: StreamEnd) -> None:
        """A stream is over."""
        self.any_failed = self.any_failed or end.failed
        self._forget(client, end.text, failed=end.failed)
        self._call.report.stream_status(client, "failed" if end.failed else "stopped", reason=end.word)
        self._core.receive_stream_end(client.index, self._loop.time())
        self._call.after_input()

    def _denoise(self, verb: Stream, leg_format: AudioFormat) -> FrameFilter | None:
        """What takes the noise out of the caller's track, where the document asks for it and it can be had."""
        if not verb.noise_cancellation:
            return None
        try:
            return Denoiser(leg_format, verb.noise_cancellation_level).process
        except UsageError as error:
            self._call.report.remark(f"the stream carries the caller with its noise: {error}")
            return None

    def _forget(self, client: StreamClient, text: str, *, failed: bool) -> None:
        call = self._call
        self.clients.pop(client.index, None)
        if client.stream.start.stream_id in self._attached:
            if call.media is not None:
                call.note(call.media)
                call.media.detach(client.stream)
                for event in call.media.events():
                    if isinstance(event, AudioCleared):
                        call.report.audio_dropped(event.ms)
            # It may be gone by now: what was noted may have ended the call, and all of its streams.
            self._attached.pop(client.stream.start.stream_id, None)
        call.report.stream_ended(client, text, failed=failed)


def _tracks(verb: Stream) -> tuple[str, ...]:
    return ("inbound", "outbound") if verb.audio_track == "both" else (verb.audio_track,)


def _numeric(auth_id: str) -> str:
    """A numeric account id that is always the same for one auth id, as the live system writes it."""
    return str(500_000 + zlib.crc32(auth_id.encode()) % 500_000)
