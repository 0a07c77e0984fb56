"""One call, as the code that answers it sees it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Protocol, Unpack

from bothway.app.documents import verbs_to
from bothway.app.inbox import Inbox
from bothway.app.outgoing import Outgoing
from bothway.app.rest_values import RecordingStarted, RecordOptions
from bothway.app.sources import Source, chunks_of
from bothway.audio.format import AudioFormat
from bothway.core.ledger import Ledger, Utterance
from bothway.errors import UsageError
from bothway.wire.extra_headers import ExtraHeaders, parse_wire
from bothway.wire.stream import Start
from bothway.wire.verbs import Verb

__all__ = ["LONGEST_RECORDING", "Call", "CallControl", "Ended", "Parties"]

LONGEST_RECORDING = 86400
"""Seconds that a recording may last (plivo-protocol.md, section 9). A carrier that is told nothing stops after 60."""


class CallControl(Protocol):
    """What can be done to a call beside its stream: the carrier's REST API (`bothway.app.control`)."""

    async def hangup(self, call_id: str) -> None:
        """End the call; one that has ended already is no error."""

    async def transfer(self, call_id: str, to: str | Sequence[Verb], app_url: str) -> None:
        """Give the call another document: that at a URL, or this one, which the app at `app_url` serves."""

    async def record(self, call_id: str, options: RecordOptions) -> RecordingStarted:
        """Begin to record the call."""
        ...

    async def stop_recording(self, call_id: str) -> None:
        """End every recording of the call."""


@dataclass(frozen=True)
class Parties:
    """Whose call it is; a stream itself does not say (plivo-protocol.md, 2.3).

    Attributes:
        from_: Who placed it.
        to: Who was called.
        direction: `inbound` or `outbound`.
        query: Of the answer URL, or of a bare stream's own URL.
    """

    from_: str = ""
    to: str = ""
    direction: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


class Ended:
    """Whether a call is over, and a wait for it: `if call.ended: …`, `await call.ended`.

    Attributes:
        reason: Why, once it is.
    """

    __slots__ = ("_future", "reason")

    def __init__(self) -> None:
        self.reason = ""
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __bool__(self) -> bool:
        return self._future.done()

    def __await__(self) -> Generator[None, None, None]:
        # Shielded: whoever stops waiting must not end the waiting of the others.
        return asyncio.shield(self._future).__await__()

    def set(self, reason: str) -> None:
        """It is over; the first reason counts."""
        if not self._future.done():
            self.reason = reason
            self._future.set_result(None)


class Call:
    """A call whose audio comes here.

    What can only be waited for is a coroutine (`play`, `played`, `hangup`); what happens at once is a plain call
    (`clear`, `send_dtmf`, `stop_stream`). The end of the call is no error: iterators finish, and what plays or waits
    returns with what was heard until then.

    Attributes:
        id: The call's UUID.
        stream_id: Names this stream of it.
        from_: Who placed the call, as the carrier wrote it: with or without a `+`. Empty on a bare stream.
        to: Who was called.
        direction: `inbound` or `outbound`: who placed the call.
        query: The parameters of the answer URL; of a repeated one, the last.
        headers: The stream's `extraHeaders`.
        tracks: What is heard: `inbound` is the caller, `outbound` what is played to the caller.
        format: How the stream's audio is coded.
        ledger: What was sent, heard and cleared.
        started_at: When the stream started, in UTC.
        ended: Whether the call's stream is over, and the wait for it.
    """

    def __init__(
        self,
        start: Start,
        outgoing: Outgoing,
        audio: Mapping[str, Inbox[bytes]],
        digits: Inbox[str],
        *,
        ledger: Ledger,
        parties: Parties,
        control: CallControl,
        stop_stream: Callable[[], None],
        ended: Ended,
        started_at: datetime,
        bidirectional: bool = True,
        app_url: str = "",
    ) -> None:
        self.id = start.call_id
        self.stream_id = start.stream_id
        self.from_ = parties.from_
        self.to = parties.to
        self.direction = parties.direction
        self.query: Mapping[str, str] = MappingProxyType(dict(parties.query))
        self.headers: ExtraHeaders = parse_wire(start.extra_headers)
        self.tracks = start.tracks
        self.format: AudioFormat = start.format
        self.ledger = ledger
        self.started_at = started_at
        self.ended = ended
        self._outgoing = outgoing
        self._play_now = outgoing.play_now if bidirectional else _never
        self._bidirectional = bidirectional
        self._audio = audio
        self._digits = digits
        self._control = control
        self._stop_stream = stop_stream
        self._app_url = app_url

    def __repr__(self) -> str:
        return f"<Call {self.id} {self.direction} from {self.from_} to {self.to}>"

    @property
    def dropped_frames(self) -> int:
        """Frames of the caller that were dropped because nobody took them in time."""
        return sum(inbox.dropped for inbox in self._audio.values())

    def audio(self, *, fresh: bool = False, track: str | None = None) -> AsyncIterator[bytes]:
        """The caller, 20 ms at a time, in the stream's own format, until the call ends.

        What the handler does not take waits: 10 s of it, then the oldest is dropped, which is counted in
        `dropped_frames` and logged once. One loop may read a track at a time.

        Args:
            fresh: Forget what waits and begin with what comes next: after a pause in listening.
            track: Which of `tracks`, where there are two; the first unless given.

        Raises:
            UsageError: The stream has no such track; in the loop: another one reads it too.
        """
        name = self.tracks[0] if track is None else track
        inbox = self._audio.get(name)
        if inbox is None:
            raise UsageError(f"the stream has no track {name!r}: it has {', '.join(self._audio)}")
        return inbox.reader(fresh=fresh)

    def dtmf(self) -> AsyncIterator[str]:
        """The keys that the caller presses, one of `0-9*#ABCD` at a time, until the call ends.

        Raises:
            UsageError: In the loop: another one reads them too.
        """
        return self._digits.reader()

    async def play(
        self,
        source: Source,
        *,
        format: AudioFormat | None = None,  # noqa: A002 - it is what every audio library calls it
        text: str | None = None,
    ) -> Utterance:
        """Play audio to the caller, behind what was to be played before.

        It returns when all of it is on its way, which is before it is heard: the carrier holds up to 20 s, and what is
        beyond that waits here (`played` waits until it is heard). A clear, or the end of the call, ends it early.

        Args:
            source: Samples without a header; the path of a WAV file; or an iterator of chunks of samples.
            format: What the samples are in, unless in the stream's own format; they are converted to that.
            text: The words, for the ledger. Without them, short pieces played one after another are one utterance.

        Returns:
            The ledger's account of it, which goes on counting what is heard.

        Raises:
            UsageError: The source cannot be played, or the stream is one-way; the message says why. Nothing is raised
                when the call has ended.
        """
        if type(source) is bytes and text is None and format is None:
            utterance = self._play_now(source)
            if utterance is not None:
                return utterance
        self._check_direction()
        return await self._outgoing.play(chunks_of(source, format, self.format), text or "")

    async def played(self) -> None:
        """Wait until the caller has heard all that was to be played so far, or it is cleared, or the call ends."""
        await self._outgoing.played()

    def checkpoint(self, name: str) -> asyncio.Future[bool]:
        """Mark the end of what was sent so far. It is sent at once, awaited or not.

        Args:
            name: For people who read the wire; it need not be unique.

        Returns:
            To be awaited: True when the caller has heard everything before it, False when that was cleared, or the
            call has ended.

        Raises:
            UsageError: The name is empty, longer than 512 characters, or begins with `bothway:`; or the stream is
                one-way.
        """
        self._check_direction()
        return self._outgoing.checkpoint(name)

    def clear(self) -> bool:
        """Be silent at once: the carrier drops what is not yet heard, and what plays here ends early.

        Returns:
            Whether the carrier was told: False when the ledger says that nothing was left to hear.
        """
        return self._outgoing.clear()

    def send_dtmf(self, digits: str) -> None:
        """Press keys towards the caller. Nothing happens when the call has ended.

        Raises:
            UsageError: Some of them are not of `0-9*#ABCD`, or the stream is one-way.
        """
        self._check_direction()
        self._outgoing.send_dtmf(digits)

    async def hangup(self, *, after_playing: bool = True) -> None:
        """End the call itself, by the carrier's REST API. One that has ended already is no error.

        Args:
            after_playing: Wait first until the caller has heard everything, so that no goodbye is cut off.

        Raises:
            UsageError: The app has no auth id or no auth token.
            PeerError: The carrier refused, or could not be reached.
        """
        if after_playing:
            await self._outgoing.played()
        await self._control.hangup(self.id)

    async def transfer(
        self,
        to: str | Sequence[Verb],
        *,
        after_playing: bool = True,
        caller_id: str | None = None,
        ring_timeout: int | None = None,
    ) -> None:
        """Hand the caller on, by the carrier's REST API. The stream is over then, and the handler may return.

        A number or a document is served by this app: the carrier fetches it from `/bothway/document`, beside the
        call's answer URL.

        Args:
            to: A number or `sip:` URI to dial; the http(s) URL of a document; or the document itself, as verbs.
            after_playing: Wait first until the caller has heard everything.
            caller_id: Whom the dialled party sees; the caller unless given.
            ring_timeout: Seconds that the dialled party's phone rings.

        Raises:
            UsageError: The app has no auth id or no auth token; the document cannot be written, or does not fit into
                a URL; or this is a bare stream, and no public URL is configured for the app.
            PeerError: The carrier refused, or could not be reached; the call goes on as it was.
        """
        document: str | Sequence[Verb] = to
        if isinstance(to, str) and not to.startswith(("http://", "https://")):
            document = verbs_to(to, caller_id=caller_id, ring_timeout=ring_timeout)
        elif caller_id is not None or ring_timeout is not None:
            raise UsageError("caller_id and ring_timeout are for a number: a document says them itself")
        if after_playing:
            await self._outgoing.played()
        await self._control.transfer(self.id, document, self._app_url)
        # Where the carrier lets the stream end before it goes on (plivo-protocol.md, 1.6), this ends it.
        self._stop_stream()

    async def record(self, **options: Unpack[RecordOptions]) -> RecordingStarted:
        """Begin to record the call, by the carrier's REST API, until its end unless `time_limit` says otherwise.

        Args:
            options: See `RecordOptions`.

        Returns:
            The recording's id, and the URL where it will be.

        Raises:
            UsageError: The app has no auth id or no auth token.
            PeerError: The carrier refused, or could not be reached.
        """
        return await self._control.record(self.id, {"time_limit": LONGEST_RECORDING, **options})

    async def stop_recording(self) -> None:
        """End every recording of the call, by the carrier's REST API.

        Raises:
            UsageError: The app has no auth id or no auth token.
            PeerError: The carrier refused, or could not be reached.
        """
        await self._control.stop_recording(self.id)

    def stop_stream(self) -> None:
        """Close the stream and not the call: the carrier goes on with the verb behind `<Stream>`, or hangs up."""
        self._stop_stream()

    def _check_direction(self) -> None:
        if not self._bidirectional:
            raise UsageError("the stream is one-way, so that nothing can be played: answer with bidirectional=True")


def _never(_: bytes) -> None:
    return None
