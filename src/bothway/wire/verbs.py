"""The verbs of an answer document: one frozen value each, one field an attribute (plivo-protocol.md, section 7.3).

A field bears the attribute's name in snake_case. The text of an element is its first field, elements inside it are
`children`; those may be given by position, attributes only by name. Times are whole seconds unless a field says
otherwise, and None means that the attribute was not written. `bothway.wire.callxml` reads and prints these values.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, get_args
from urllib.parse import urlsplit

from bothway.errors import PeerError
from bothway.wire.attributes import choice, flag, http_method, keys, string, tones, whole
from bothway.wire.content_type import parse_stream_content_type
from bothway.wire.extra_headers import EXTRA_HEADERS_LIMIT

__all__ = [
    "SSML_TAGS",
    "URL_LIMIT",
    "VERBS",
    "Conference",
    "Dial",
    "Dtmf",
    "GetDigits",
    "GetInput",
    "Hangup",
    "Message",
    "MultiPartyCall",
    "Number",
    "Play",
    "PreAnswer",
    "Record",
    "Redirect",
    "Speak",
    "Ssml",
    "Stream",
    "User",
    "Verb",
    "Wait",
]

URL_LIMIT = 2048
"""Characters in a stream's URL (plivo-protocol.md, section 9)."""

SSML_TAGS = frozenset({"break", "emphasis", "lang", "p", "phoneme", "prosody", "s", "say-as", "sub", "w"})
"""What `<Speak>` may hold (plivo-protocol.md, section 7.2)."""

_TEXT = {"role": "text"}


def _children(*allowed: type) -> dict[str, Any]:
    return {"role": "children", "allowed": allowed}


@dataclass(frozen=True, slots=True)
class Ssml:
    """One SSML element inside `<Speak>`.

    Attributes:
        tag: One of `SSML_TAGS`.
        attributes: Names and values as written, in order.
        text: The text before the first child.
        children: The elements inside.
        tail: The text between this element's end and the next element, which is outside of this one.
    """

    tag: str
    attributes: tuple[tuple[str, str], ...] = ()
    text: str = ""
    children: tuple[Ssml, ...] = ()
    tail: str = ""


def _words(start: str, elements: tuple[Ssml, ...]) -> Iterator[str]:
    yield start
    for element in elements:
        alias = dict(element.attributes).get("alias") if element.tag == "sub" else None
        yield from _words(element.text, element.children) if alias is None else (alias,)
        yield (" " if element.tag in ("break", "p", "s") else "") + element.tail


@dataclass(frozen=True, slots=True)
class Speak:
    """Say a text. White space at its two ends means nothing and is not kept.

    Attributes:
        text: The words; with markup, those before the first SSML element.
        ssml: The SSML elements, each with the words that follow it.
        voice: `WOMAN`, `MAN` or `Polly.<Name>`; only the last takes SSML.
        language: A tag such as `en-US`.
        loop: How often; 0 is until the call ends.
    """

    text: str = field(metadata=_TEXT)
    ssml: tuple[Ssml, ...] = field(default=(), metadata={"role": "ssml"})
    voice: str = string("WOMAN")
    language: str = string("en-US")
    loop: int = whole(1)

    def plain(self) -> str:
        """The words alone, for a voice that knows no SSML: substitutions made, white space collapsed."""
        return " ".join("".join(_words(self.text, self.ssml)).split())


@dataclass(frozen=True, slots=True)
class Play:
    """Play an MP3 or WAV file; `loop` 0 is endless."""

    url: str = field(metadata=_TEXT)
    loop: int = whole(1)


@dataclass(frozen=True, slots=True)
class Dtmf:
    """Press keys: `0-9*#`, with `w` for half a second of pause and `W` for a whole one. The element is `<DTMF>`."""

    digits: str = field(metadata=_TEXT)
    async_: bool = flag(True, name="async")


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for `length` seconds.

    Attributes:
        length: Seconds.
        silence: End early once the other party falls silent.
        min_silence: The milliseconds that count as silence.
        beep: End early at an answering machine's beep; a string holds the detector's settings.
    """

    length: int = whole(1, 1)
    silence: bool = flag()
    min_silence: int | None = whole()
    beep: bool | str = tones()


@dataclass(frozen=True, slots=True)
class GetDigits:
    """Collect keys after a prompt.

    Attributes:
        children: The prompt, which the first key interrupts.
        method: Kept as written where it is neither GET nor POST: the call then ends with 7032.
        timeout: Seconds to the first key; `digit_timeout` is between keys.
        finish_on_key: Keys that end the input; empty for none.
        log: False keeps the digits out of every log.
    """

    children: tuple[Speak | Play | Wait, ...] = field(default=(), metadata=_children(Speak, Play, Wait))
    action: str | None = string()
    method: str = http_method(keep=True)
    timeout: int = whole(5, 1)
    digit_timeout: int = whole(2, 1)
    finish_on_key: str = keys("#")
    num_digits: int = whole(99, 1)
    retries: int = whole(1, 1)
    redirect: bool = flag(True)
    play_beep: bool = flag()
    valid_digits: str = string("1234567890*#")
    invalid_digits_sound: str | None = string()
    log: bool = flag(True)


@dataclass(frozen=True, slots=True)
class GetInput:
    """Collect keys or speech, whichever comes first, after a prompt.

    Attributes:
        children: The prompt.
        method: As in `GetDigits`.
        input_type: `dtmf`, `speech` or `dtmf speech`; the documents name no default.
        execution_timeout: Seconds for the whole input, 5 to 60, counted from the end of the prompt.
        digit_end_timeout: Seconds, 2 to 10; None is `auto`. So is `speech_end_timeout`.
        finish_on_key: As in `GetDigits`.
        hints: Phrases, with commas between.
    """

    children: tuple[Speak | Play | Wait, ...] = field(default=(), metadata=_children(Speak, Play, Wait))
    action: str | None = string()
    method: str = http_method(keep=True)
    input_type: str | None = choice(None, "dtmf", "speech", "dtmf speech")
    execution_timeout: int = whole(15, 5, 60)
    digit_end_timeout: int | None = whole(None, 2, 10, auto=True)
    speech_end_timeout: int | None = whole(None, 2, 10, auto=True)
    start_input_timeout: int | None = whole(None, 1)
    finish_on_key: str = keys("#")
    num_digits: int = whole(32, 1)
    retries: int = whole(1, 1)
    speech_model: str = choice("default", "default", "command_and_search", "phone_call")
    hints: str | None = string()
    language: str = string("en-US")
    interim_speech_results_callback: str | None = string()
    interim_speech_results_callback_method: str = http_method()
    profanity_filter: bool = flag()
    redirect: bool = flag(True)
    log: bool = flag(True)


@dataclass(frozen=True, slots=True)
class Record:
    """Record the caller, or with `record_session` the whole call in the background.

    Attributes:
        method: As in `GetDigits`.
        timeout: Seconds of silence that end the recording; `max_length` ends it in any case.
        finish_on_key: As in `GetDigits`.
        start_on_dial_answer: Begin when a later `Dial` is answered.
        record_channel_type: `stereo` keeps the two parties apart.
    """

    action: str | None = string()
    method: str = http_method(keep=True)
    file_format: str = choice("mp3", "mp3", "wav")
    redirect: bool = flag(True)
    timeout: int = whole(15, 1)
    max_length: int = whole(60, 1)
    play_beep: bool = flag(True)
    finish_on_key: str = keys("#")
    record_session: bool = flag()
    start_on_dial_answer: bool = flag()
    record_channel_type: str = choice("stereo", "stereo", "mono")
    transcription_type: str = choice("auto", "auto", "hybrid", "manual")
    transcription_url: str | None = string()
    transcription_method: str = http_method()
    transcription_report_type: str = choice("full", "full", "compact")
    callback_url: str | None = string()
    callback_method: str = http_method()


@dataclass(frozen=True, slots=True)
class Number:
    """A telephone number that `Dial` rings; `send_digits` are pressed once it answers."""

    number: str = field(metadata=_TEXT)
    send_digits: str | None = string()
    send_digits_mode: str = string("rfc2833")
    send_on_preanswer: bool = flag()
    sip_headers: str | None = string()


@dataclass(frozen=True, slots=True)
class User:
    """A SIP endpoint that `Dial` rings. A name and a password (8 to 128 characters) are given together."""

    uri: str = field(metadata=_TEXT)
    send_digits: str | None = string()
    send_on_preanswer: bool = flag()
    sip_headers: str | None = string()
    sip_auth_username: str | None = string()
    sip_auth_password: str | None = string(secret=True)


@dataclass(frozen=True, slots=True)
class Dial:
    """Ring every child at once and join the first that answers to the caller.

    Attributes:
        children: Whom to ring; at least one.
        method: As in `GetDigits`.
        timeout: Seconds of ringing; None leaves it to the carrier.
        time_limit: Seconds that the joined call may last.
        caller_name: At most 50 characters.
        confirm_sound: A URL whose document asks the called party for `confirm_key`.
        dial_music: A URL, or `real` for the called network's own ringing.
        digits_match: Keys of the caller to report, with commas between; `digits_match_b_leg` of the called party.
    """

    children: tuple[Number | User, ...] = field(metadata=_children(Number, User))
    action: str | None = string()
    method: str = http_method(keep=True)
    hangup_on_star: bool = flag()
    time_limit: int = whole(14400, 1)
    timeout: int | None = whole(None, 1)
    caller_id: str | None = string()
    caller_name: str | None = string(limit=50)
    confirm_sound: str | None = string()
    confirm_timeout: int | None = whole(None, 1)
    confirm_key: str | None = string()
    dial_music: str | None = string()
    callback_url: str | None = string()
    callback_method: str = http_method()
    redirect: bool = flag(True)
    digits_match: str | None = string()
    digits_match_b_leg: str | None = string()
    sip_headers: str | None = string()
    call_type: str = choice("voice", "voice", "whatsapp")


@dataclass(frozen=True, slots=True)
class Hangup:
    """End the call, after `schedule` seconds if given, while later verbs go on.

    `reason` is `rejected` or `busy`: as the first verb of a document it refuses the call unanswered.
    """

    reason: str | None = choice(None, "rejected", "busy")
    schedule: int | None = whole()


@dataclass(frozen=True, slots=True)
class Redirect:
    """Go on with the document at `url`.

    `method` is kept as written where it is neither GET nor POST: the call then ends with 7034 (Invalid Method For
    Redirect URL).
    """

    url: str = field(metadata=_TEXT)
    method: str = http_method(keep=True)


@dataclass(frozen=True, slots=True)
class Message:
    """Send a text message; `dst` holds several numbers with `<` between."""

    text: str = field(metadata=_TEXT)
    src: str | None = string()
    dst: str | None = string()
    type: str = string("sms")
    callback_url: str | None = string()
    callback_method: str = http_method()


@dataclass(frozen=True, slots=True)
class PreAnswer:
    """Run `children` as early media, before the call is answered and billed."""

    children: tuple[Speak | Play | Wait | GetDigits | Redirect | Message | Dtmf, ...] = field(
        default=(), metadata=_children(Speak, Play, Wait, GetDigits, Redirect, Message, Dtmf)
    )


@dataclass(frozen=True, slots=True)
class Conference:
    """Join a room of up to 20.

    Attributes:
        room: The room's name.
        enter_sound: `beep:1`, `beep:2` or a URL; so is `exit_sound`.
        wait_sound: A URL whose document is played until the conference starts.
        method: As in `GetDigits`.
        time_limit: Seconds.
        record_when_alone: Known from the official SDK alone, which names no default and writes `True`.
    """

    room: str = field(metadata=_TEXT)
    muted: bool = flag()
    enter_sound: str | None = string()
    exit_sound: str | None = string()
    start_conference_on_enter: bool = flag(True)
    end_conference_on_exit: bool = flag()
    stay_alone: bool = flag(True)
    wait_sound: str | None = string()
    max_members: int = whole(20, 1, 20)
    record: bool = flag()
    record_file_format: str = choice("mp3", "mp3", "wav")
    record_when_alone: bool = flag(any_case=True)
    time_limit: int = whole(86400, 1)
    hangup_on_star: bool = flag()
    action: str | None = string()
    method: str = http_method(keep=True)
    callback_url: str | None = string()
    callback_method: str = http_method()
    digits_match: str | None = string()
    floor_event: bool = flag()
    redirect: bool = flag(True)
    relay_dtmf: bool = flag(True, name="relayDTMF")
    send_digits: str | None = string()
    transcription_type: str | None = choice(None, "auto", "hybrid", "manual")
    transcription_url: str | None = string()
    transcription_method: str = http_method()


@dataclass(frozen=True, slots=True)
class MultiPartyCall:
    """Join a multi-party call. It is read so that a document which has one is understood, and is not run.

    The ranges are those that the official SDK allows. `wait_time`, the sounds' and music's methods and the
    `ai_agent_stream_*` fields (a stream for the role `ai-agent`, plivo-protocol.md, 1.7) are as Plivo names them.
    """

    name: str = field(metadata=_TEXT)
    role: str | None = choice(None, "agent", "supervisor", "customer", "ai-agent", any_case=True)
    max_duration: int = whole(14400, 300, 28800)
    max_participants: int = whole(10, 2, 10)
    record_min_member_count: int = whole(1, 1, 2)
    wait_music_url: str | None = string()
    wait_music_method: str = http_method("GET")
    wait_time: int | None = whole(None, 0, 1800)
    wait_for_agent: bool = flag()
    agent_hold_music_url: str | None = string()
    agent_hold_music_method: str = http_method("GET")
    customer_hold_music_url: str | None = string()
    customer_hold_music_method: str = http_method("GET")
    record: bool = flag()
    record_participant_track: bool = flag()
    record_coach_voice: bool = flag()
    record_file_format: str = choice("mp3", "mp3", "wav", any_case=True)
    recording_callback_url: str | None = string()
    recording_callback_method: str = http_method()
    status_callback_events: str = string("mpc-state-changes,participant-state-changes")
    status_callback_url: str | None = string()
    status_callback_method: str = http_method()
    stay_alone: bool = flag()
    coach_mode: bool = flag(True)
    mute: bool = flag()
    hold: bool = flag()
    start_mpc_on_enter: bool = flag(True)
    end_mpc_on_exit: bool = flag()
    enter_sound: str = string("beep:1")
    enter_sound_method: str = http_method("GET")
    exit_sound: str = string("beep:2")
    exit_sound_method: str = http_method("GET")
    on_exit_action_url: str | None = string()
    on_exit_action_method: str = http_method()
    relay_dtmf_inputs: bool = flag(name="relayDTMFInputs")
    start_recording_audio: str | None = string()
    start_recording_audio_method: str = http_method("GET")
    stop_recording_audio: str | None = string()
    stop_recording_audio_method: str = http_method("GET")
    transcript: bool = flag()
    transcription_url: str | None = string()
    ai_agent_stream_service_url: str | None = string()
    ai_agent_stream_content_type: str = string("audio/x-l16;rate=8000")
    ai_agent_stream_status_callback_url: str | None = string()
    ai_agent_stream_status_callback_method: str = http_method()
    ai_agent_stream_sampling_rate: int | None = whole(None, 1)
    ai_agent_stream_extra_headers: str | None = string()


@dataclass(frozen=True, slots=True)
class Stream:
    """Open a WebSocket to the app and carry the call's audio over it (plivo-protocol.md, section 1).

    What makes the stream fail while the document goes on is kept as written, and told by `problem`.

    Attributes:
        url: The WebSocket's address.
        bidirectional: Whether the app may play audio to the caller.
        audio_track: `inbound`, `outbound` or `both`: which party the app hears.
        stream_timeout: Seconds that the stream may last.
        status_callback_url: Where to report the stream's life.
        status_callback_method: GET or POST.
        content_type: The coding of the audio sent to the app; None is the carrier profile's default.
        extra_headers: Metadata for the app, as written.
        keep_call_alive: Hold the document at this verb until the stream ends.
        noise_cancellation: Filter the caller's audio first, at a level of 60 to 100.
        noise_cancellation_level: Means something only together with `noise_cancellation`.
    """

    url: str = field(metadata=_TEXT)
    bidirectional: bool = flag()
    audio_track: str = string("inbound")
    stream_timeout: int = whole(86400, 1)
    status_callback_url: str | None = string()
    status_callback_method: str = http_method(keep=True)
    content_type: str | None = string()
    extra_headers: str | None = string()
    keep_call_alive: bool = flag()
    noise_cancellation: bool = flag()
    noise_cancellation_level: int = whole(85, 60, 100)

    def problem(self) -> str | None:
        """Say in one sentence why this stream cannot run, or give None (plivo-protocol.md, section 1.5).

        The sentence names no part of the URL but its scheme: the rest may hold a token. A loopback address is no
        problem here; whether a carrier may reach it is for its own settings to say.
        """
        fault = _url_fault(self.url)
        if fault is not None:
            return f"the <Stream> {fault}"
        if self.audio_track not in ("inbound", "outbound", "both"):
            return f"the <Stream> has audioTrack {self.audio_track[:40]!r}; allowed is inbound, outbound, both"
        if self.bidirectional and self.audio_track != "inbound":
            return f'the <Stream> is bidirectional, which audioTrack="{self.audio_track}" does not allow: only inbound'
        if self.status_callback_method not in ("GET", "POST"):
            return f"the <Stream> has statusCallbackMethod {self.status_callback_method[:40]!r}; allowed is GET, POST"
        size = len((self.extra_headers or "").encode("utf-8", "replace"))
        if size > EXTRA_HEADERS_LIMIT:
            return f"the <Stream> has {size} bytes of extraHeaders; allowed is {EXTRA_HEADERS_LIMIT}"
        if self.content_type is not None:
            try:
                parse_stream_content_type(self.content_type)
            except PeerError as error:
                return str(error)
        return None


def _url_fault(url: str) -> str | None:
    if not url:
        return "has no URL: the WebSocket's address is the text of the element"
    if len(url) > URL_LIMIT:
        return f"has a URL of {len(url)} characters; allowed is {URL_LIMIT}"
    if any(character <= " " or character.isspace() for character in url):
        return "has white space in its URL"
    try:
        scheme, host, _port = (parts := urlsplit(url)).scheme, parts.hostname, parts.port
    except ValueError:
        return "has a URL that cannot be read"
    if scheme not in ("ws", "wss"):
        return f"has a URL with {f'the scheme {scheme[:20]}' if scheme else 'no scheme'}; allowed is wss and ws"
    return None if host else "has a URL without a host"


Verb: TypeAlias = (
    Speak
    | Play
    | Dtmf
    | GetDigits
    | GetInput
    | Record
    | Dial
    | Hangup
    | Redirect
    | Wait
    | PreAnswer
    | Conference
    | MultiPartyCall
    | Message
    | Stream
)
"""What a document may hold at its top: `Number` and `User` stand only inside `Dial`."""

VERBS: tuple[type[Verb], ...] = get_args(Verb)
"""Every class of `Verb`."""
