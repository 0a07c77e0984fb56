"""What the REST API asks of whoever has the live calls.

The API reads and checks requests, decides who may do what, and answers; records it has from the `Store`, and everything
that lives from a `Switch`. A switch therefore checks no account: each thing that it gives says whose it is, and the
API compares. All methods are called on the event loop. Those that are not `async` act at once and return at once; what
they set going (a tone, a prompt, the end of a call) goes on by itself.

Whatever cannot be done is a `RefusedError`, with a message that the API's user reads word for word.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

import msgspec

from bothway.carrier.config import Account
from bothway.carrier.store.records import CallRecord
from bothway.errors import UsageError
from bothway.wire.webhooks import CallFacts

__all__ = [
    "CallControl",
    "CallRequest",
    "ConferenceControl",
    "FileFormat",
    "HttpMethod",
    "Leg",
    "Legs",
    "MachineDetection",
    "MemberControl",
    "PlayRequest",
    "Reason",
    "RecordRequest",
    "RefusedError",
    "SpeakRequest",
    "StreamRequest",
    "Switch",
    "TransferRequest",
]

HttpMethod: TypeAlias = Literal["GET", "POST"]
"""How a URL is asked."""

Leg: TypeAlias = Literal["aleg", "bleg"]
"""One side of a bridged call: who the call was with first, and whom it dialled."""

Legs: TypeAlias = Literal["aleg", "bleg", "both"]
"""One side of a bridged call, or both."""

FileFormat: TypeAlias = Literal["mp3", "wav"]
"""The file of a recording."""

Reason: TypeAlias = Literal["invalid", "barred", "not-found", "conflict", "unavailable"]
"""Why something cannot be done; the API answers 400, 403, 404, 409 and 503."""


class RefusedError(UsageError):
    """What was asked for cannot be done. Nothing has been done.

    Args:
        message: For the API's user: which of the request's parts is at fault, and what would do.
        reason: `invalid`: a parameter cannot be (a stream to this URL is open already; a transfer beyond the limit).
            `barred`: this destination may not be called. `not-found`: there is no such leg, stream or member any more.
            `conflict`: the state forbids it. `unavailable`: the queue is full, or the carrier is being stopped.
    """

    def __init__(self, message: str, *, reason: Reason = "invalid") -> None:
        super().__init__(message)
        self.reason = reason


# --- what is asked for --------------------------------------------------------------------------------------------


class MachineDetection(msgspec.Struct, frozen=True):
    """How a call looks for an answering machine (plivo-protocol.md, 5.3).

    Attributes:
        mode: `true` reports a machine and goes on, `hangup` ends the call (9100).
        time: Milliseconds that the detection may take.
        url: Is told asynchronously (`Event=MachineDetection`); without one the answer URL gets `Machine`.
        method: How `url` is asked.
        maximum_speech_length: Milliseconds of speech beyond which it is a machine.
        initial_silence: Milliseconds of silence at first beyond which it is a machine.
        maximum_words: Words beyond which it is a machine; None for the switch's own measure.
        initial_greeting: Milliseconds of the first greeting beyond which it is a machine; None as above.
        silence: Milliseconds of silence after speech that tell a person; None as above.
    """

    mode: Literal["true", "hangup"]
    time: int = 5_000
    url: str | None = None
    method: HttpMethod = "POST"
    maximum_speech_length: int = 5_000
    initial_silence: int = 4_500
    maximum_words: int | None = None
    initial_greeting: int | None = None
    silence: int | None = None


class CallRequest(msgspec.Struct, frozen=True):
    """Calls to be placed, one for each of `to` (plivo-protocol.md, 5.3).

    Every parameter has been checked: URLs are http or https, numbers are in the reference's ranges.

    Attributes:
        from_: The caller id: digits without `+`, or a SIP URI.
        to: At least one and at most 1000 destinations: digits without `+`, or SIP URIs.
        answer_url: Gives the document once the call is answered.
        hangup_url: Is told of the end; None is the answer URL (plivo-protocol.md, 5.3), asked by `hangup_method`.
        fallback_url: Gives the document where the answer URL does not.
        ring_url: Is told of the ringing.
        caller_name: What the called party is shown; empty for nothing.
        send_digits: Pressed after the answer: `0-9*#`, `w` waits 0.5 s, `W` 1 s, `@<ms>` sets the length of the tones.
        send_on_preanswer: Whether they are pressed on early media already.
        time_limit: Seconds from the answer after which the call ends.
        hangup_on_ring: Seconds after the ringing began at which the call ends; None never.
        ring_timeout: Seconds of ringing after which nobody answers (6010).
        machine_detection: None looks for no machine.
        sip_headers: Names and values; they are sent as `X-PH-<name>`. Percent signs are left as they are.
        sip_auth_username: For a trunk that asks for credentials; None has none.
        sip_auth_password: As above.
        parent_call_uuid: A live call of the same account that these belong to; None for none.
    """

    from_: str
    to: tuple[str, ...]
    answer_url: str
    answer_method: HttpMethod = "POST"
    hangup_url: str | None = None
    hangup_method: HttpMethod = "POST"
    fallback_url: str | None = None
    fallback_method: HttpMethod = "POST"
    ring_url: str | None = None
    ring_method: HttpMethod = "POST"
    caller_name: str = ""
    send_digits: str = ""
    send_on_preanswer: bool = False
    time_limit: int = 14_400
    hangup_on_ring: int | None = None
    ring_timeout: int = 120
    machine_detection: MachineDetection | None = None
    sip_headers: tuple[tuple[str, str], ...] = ()
    sip_auth_username: str | None = None
    sip_auth_password: str | None = None
    parent_call_uuid: str | None = None

    def __repr__(self) -> str:
        return f"CallRequest({self.from_} to {len(self.to)} destinations)"


class TransferRequest(msgspec.Struct, frozen=True):
    """Other documents for a call's legs (plivo-protocol.md, 5.5).

    Attributes:
        legs: Which; the URLs of those are set.
        aleg_url: For the first leg.
        bleg_url: For the second.
    """

    legs: Legs = "aleg"
    aleg_url: str | None = None
    aleg_method: HttpMethod = "POST"
    bleg_url: str | None = None
    bleg_method: HttpMethod = "POST"


class RecordRequest(msgspec.Struct, frozen=True):
    """A recording of a call or a conference from now on (plivo-protocol.md, 5.5).

    Attributes:
        time_limit: Seconds, 1 to 86400.
        file_format: Of the file.
        channels: `mono` mixes, `stereo` has the caller left and what the caller hears right.
        callback_url: Is told when the recording is there (plivo-protocol.md, 6.5).
        transcription: None transcribes nothing; `auto` by machine.
        transcription_url: Is told the text.
    """

    time_limit: int = 60
    file_format: FileFormat = "mp3"
    channels: Literal["mono", "stereo"] = "mono"
    callback_url: str | None = None
    callback_method: HttpMethod = "POST"
    transcription: Literal["auto", "hybrid"] | None = None
    transcription_url: str | None = None
    transcription_method: HttpMethod = "POST"


class PlayRequest(msgspec.Struct, frozen=True):
    """Audio files to be played into a live call (plivo-protocol.md, 5.5).

    Attributes:
        urls: One after another; http or https.
        length: Seconds after which it stops; None plays all of them.
        legs: Who hears it.
        loop: Whether it goes on until it is stopped.
        mix: Whether it is mixed with what else is heard, or is heard alone.
    """

    urls: tuple[str, ...]
    length: int | None = None
    legs: Legs = "aleg"
    loop: bool = False
    mix: bool = True


class SpeakRequest(msgspec.Struct, frozen=True):
    """Text to be said into a live call (plivo-protocol.md, 5.5).

    Attributes:
        text: Plain text, or SSML where the voice is one that takes it.
        voice: `WOMAN`, `MAN`, or the name of a voice.
        language: A BCP 47 tag.
        legs: Who hears it.
        loop: Whether it goes on until it is stopped.
        mix: Whether it is mixed with what else is heard, or is heard alone.
    """

    text: str
    voice: str = "WOMAN"
    language: str = "en-US"
    legs: Legs = "aleg"
    loop: bool = False
    mix: bool = True


class StreamRequest(msgspec.Struct, frozen=True):
    """An audio stream of a live call (plivo-protocol.md, 5.2): what the XML verb `<Stream>` would ask for.

    Attributes:
        service_url: ws or wss, of 2048 characters at most.
        bidirectional: Whether the app may play audio.
        audio_track: What the app hears.
        stream_timeout: Seconds after which it ends.
        status_callback_url: Is told of what happens to it.
        content_type: One of the codings that a stream can have; None is the profile's.
        extra_headers: As written.
        noise_cancellation: Whether the caller's track is cleaned of noise.
        noise_cancellation_level: 60 to 100 (plivo-protocol.md, 1.2).
    """

    service_url: str
    bidirectional: bool = False
    audio_track: Literal["inbound", "outbound", "both"] = "inbound"
    stream_timeout: int = 86_400
    status_callback_url: str | None = None
    status_callback_method: HttpMethod = "POST"
    content_type: str | None = None
    extra_headers: str = ""
    noise_cancellation: bool = False
    noise_cancellation_level: int = 85


# --- what acts ----------------------------------------------------------------------------------------------------


class CallControl(Protocol):
    """One live call: one leg with its own CallUUID. The B leg of a Dial is a call with a parent."""

    @property
    def account(self) -> Account:
        """Whose call it is."""

    def hangup(self) -> None:
        """End the call: 4000 by `API Request`; one that still rings is cancelled (1000)."""

    def transfer(self, request: TransferRequest) -> None:
        """Fetch other documents for its legs, and run those.

        Raises:
            RefusedError: It was transferred 70 times (`invalid`, `Loop detected`), or has no such leg (`not-found`).
        """

    async def start_recording(self, request: RecordRequest) -> str:
        """Record from now on; gives the recording's id. Several recordings of one call can run at a time.

        Raises:
            RefusedError: It is not answered yet (`conflict`).
        """

    def stop_recording(self, recording_id: str | None = None) -> bool:
        """Stop the recording of this id, or all of them; False if there was none."""

    def play(self, request: PlayRequest) -> None:
        """Play; what an earlier request plays or says stops. URLs are fetched by and by, and failures logged.

        Raises:
            RefusedError: It is not answered yet (`conflict`), or has no such leg (`not-found`).
        """

    def stop_playing(self) -> None:
        """Stop what `play` began; nothing happens if nothing plays."""

    def speak(self, request: SpeakRequest) -> None:
        """Say; what an earlier request plays or says stops.

        Raises:
            RefusedError: It is not answered yet (`conflict`), or has no such leg (`not-found`).
        """

    def stop_speaking(self) -> None:
        """Stop what `speak` began; nothing happens if nothing is said."""

    def send_digits(self, digits: str, leg: Leg) -> None:
        """Press keys towards a leg: `0-9*#`, and `w` and `W` that wait.

        Raises:
            RefusedError: It is not answered yet (`conflict`), or has no such leg (`not-found`).
        """

    async def start_stream(self, request: StreamRequest) -> str:
        """Open a stream; gives its id at once, before the socket is up.

        Its `StreamRecord` has been given to the `Store` when this returns: the API reads streams there.

        Raises:
            RefusedError: It is not answered yet (`conflict`), a stream to this URL is open (`invalid`), or the call has
                as many as it may (`invalid`).
        """

    def stop_stream(self, stream_id: str) -> bool:
        """Close a stream; False if the call has none of that id open."""

    def stop_streams(self) -> None:
        """Close all streams."""


class MemberControl(Protocol):
    """One member of a conference."""

    @property
    def member_id(self) -> str:
        """A number, as text: what the conference's callbacks name `ConferenceMemberID`."""

    @property
    def facts(self) -> CallFacts:
        """Of the member's call."""

    @property
    def muted(self) -> bool:
        """Whether the others do not hear it."""

    @property
    def deaf(self) -> bool:
        """Whether it does not hear the others."""

    @property
    def joined_at(self) -> datetime:
        """When it came in, with its time zone."""

    def mute(self, on: bool) -> None:
        """Let the others not hear it, or hear it again."""

    def deafen(self, on: bool) -> None:
        """Let it not hear the others, or hear them again."""

    def kick(self) -> None:
        """Put it out of the conference: its document goes on after `<Conference>`."""

    def hangup(self) -> None:
        """End its call: 4000 by `API Request`."""

    def play(self, request: PlayRequest) -> None:
        """Play to this member alone; of the request, `urls` counts."""

    def stop_playing(self) -> None:
        """Stop what `play` began; nothing happens if nothing plays."""

    def speak(self, request: SpeakRequest) -> None:
        """Say to this member alone; of the request, `text`, `voice` and `language` count."""

    def stop_speaking(self) -> None:
        """Stop what `speak` began; nothing happens if nothing is said."""


class ConferenceControl(Protocol):
    """One live conference. Its name is unique among those of one account."""

    @property
    def name(self) -> str:
        """As `<Conference>` says it."""

    @property
    def account(self) -> Account:
        """Whose conference it is: that of the calls in it."""

    @property
    def started_at(self) -> datetime:
        """When the first member came in, with its time zone."""

    @property
    def members(self) -> Sequence[MemberControl]:
        """Who is in it, in the order in which they came."""

    def hangup(self) -> None:
        """End the calls of all members."""

    async def start_recording(self, request: RecordRequest) -> str:
        """Record the mix of all members from now on; gives the recording's id.

        Raises:
            RefusedError: It is being recorded (`conflict`).
        """

    def stop_recording(self) -> bool:
        """Stop recording; False if it was not recorded."""


class Switch(Protocol):
    """Whoever has the live calls: the carrier.

    The API reads calls from the `Store`, live and queued ones too, so the switch saves a call's record whenever its
    state changes. It comes here to act.
    """

    def prepare_calls(self, account: Account, request: CallRequest) -> Sequence[CallRecord]:
        """Check that calls can be placed, and make their records; nothing is placed or saved yet.

        Returns:
            A record in the state `queued` for each destination, in their order, each with a new `call_uuid` that is the
            `request_uuid` too (plivo-protocol.md, D47).

        Raises:
            RefusedError: A destination may not be called (`barred`), the queue is full or the carrier is being stopped
                (`unavailable`).
        """

    def place_calls(self, account: Account, request: CallRequest, calls: Sequence[CallRecord]) -> None:
        """Place the calls that `prepare_calls` made, as soon as the calls-per-second setting lets them.

        Their records have been saved. Nothing may fail here: an official client repeats a request that failed with 5xx.
        A call that cannot be placed any more ends, with a cause.
        """

    def live_call(self, call_id: str) -> CallControl | None:
        """The call of this id if it rings or is up, whosever it is.

        One that has ended is none, even while its last callbacks are on their way.
        """

    def live_calls(self) -> Sequence[CallControl]:
        """All of them, oldest first."""

    def cancel_request(self, request_uuid: str) -> bool:
        """Take a call out of the queue (1000), or cancel one that rings; False if it is neither."""

    def conferences(self) -> Sequence[ConferenceControl]:
        """All of them, oldest first."""
