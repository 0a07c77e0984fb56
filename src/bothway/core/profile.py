"""Every behaviour on which the documents and the live system differ, and every limit, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field

from bothway.audio.format import L16_8K, MULAW_8K, AudioFormat
from bothway.errors import UsageError

__all__ = ["DOCUMENTED", "LIVE", "Limits", "Profile", "profile_named"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds that the carrier enforces (plivo-protocol.md, section 9).

    Attributes:
        playout_seconds: Audio that may wait in a stream's playout queue.
        slow_reader_seconds: Media that may wait for an app that does not read.
        degraded_percent: The fills of that buffer at which the carrier warns.
        connect_tries: How often a stream's socket is tried in all.
        connect_seconds: How long one of those tries may take.
        call_seconds: The longest `time_limit` that a call may have; 14400 is what it has without one.
        redirects: Documents that may lead to one another before it is a loop; a transfer begins anew.
        streams_per_call: Streams that may be open on one call at a time; one of them may be bidirectional.
        calls: Calls that the carrier takes at a time; one more hears that the line is busy.
        calls_per_second: Calls that an account may place in a second; what comes faster is queued.
        recordings_days: Days for which recordings are kept; they are deleted after that.
        requests_per_5s: Requests that the REST API answers one account in any 5 seconds; more get 429.
        media_timeout_seconds: How long a leg that is up may send no audio before its call is ended (6020).
    """

    playout_seconds: float = 60.0
    slow_reader_seconds: float = 40.0
    degraded_percent: tuple[int, ...] = (30, 60, 90)
    connect_tries: int = 3
    connect_seconds: float = 5.0
    call_seconds: int = 86_400
    redirects: int = 70
    streams_per_call: int = 1
    calls: int = 1_000
    calls_per_second: float = 2.0
    requests_per_5s: int = 300
    recordings_days: int = 90
    media_timeout_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Profile:
    """How the carrier behaves where sources disagree (design, section 4).

    Attributes:
        name: What the command line calls it.
        stop_message: Whether `stop` is sent before the socket closes.
        documented_callbacks: Whether status callbacks use the newer documents' words (`started`, ISO 8601) or the
            live system's (`StartStream`, naive UTC).
        stopped_on_hangup: Whether a plain hang-up makes a status callback.
        brace_headers: Whether `extra_headers` is written `{X-PH-key: value}` or as the attribute was.
        default_format: The coding of a `<Stream>` without `contentType`.
        first_sequence: The `sequenceNumber` of `start`.
        numeric_account: Whether `start.accountId` is a number or the auth id.
        stream_holds_call: Whether a stream with `keepCallAlive="false"` keeps the call up after the last verb.
        signs_every_form: Whether the upgrade's V3 header lists the http, https and literal form of the URL, or http.
        transfer_interrupts: Whether a REST transfer ends a stream that blocks the document at once.
        plus_in_numbers: Whether the numbers in callbacks and records begin with a `+`; captured ones are of both
            kinds (plivo-protocol.md, D50).
        limits: The bounds.
    """

    name: str
    stop_message: bool
    documented_callbacks: bool
    stopped_on_hangup: bool
    brace_headers: bool
    default_format: AudioFormat
    first_sequence: int
    numeric_account: bool
    stream_holds_call: bool
    signs_every_form: bool
    transfer_interrupts: bool
    plus_in_numbers: bool = False
    limits: Limits = field(default_factory=Limits)


DOCUMENTED = Profile(
    name="documented",
    stop_message=True,
    documented_callbacks=True,
    stopped_on_hangup=True,
    brace_headers=False,
    default_format=MULAW_8K,
    first_sequence=1,
    numeric_account=False,
    stream_holds_call=True,
    signs_every_form=True,
    transfer_interrupts=True,
)
LIVE = Profile(
    name="live",
    stop_message=False,
    documented_callbacks=False,
    stopped_on_hangup=False,
    brace_headers=True,
    default_format=L16_8K,
    first_sequence=0,
    numeric_account=True,
    stream_holds_call=False,
    signs_every_form=False,
    transfer_interrupts=False,
)


def profile_named(name: str) -> Profile:
    """The profile that the command line calls `name`.

    Raises:
        UsageError: There is none of that name.
    """
    for profile in (DOCUMENTED, LIVE):
        if profile.name == name:
            return profile
    raise UsageError(f"there is no profile {name!r}: choose documented or live")
