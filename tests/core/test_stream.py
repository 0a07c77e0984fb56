from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K, AudioFormat
from bothway.audio.wav import wav_header
from bothway.core.profile import DOCUMENTED, LIVE, Profile
from bothway.core.stream import AppStream, CarrierStream, State, StreamEvent
from bothway.errors import UsageError
from bothway.wire.stream import (
    Checkpoint,
    ClearAudio,
    ClearedAudio,
    Dtmf,
    Media,
    Mistake,
    PlayAudio,
    PlayedStream,
    SendDtmf,
    Start,
    Stop,
)

CALL = "0f6a1b9e-6d1c-4f0e-9b7e-3f5e2c7a1d10"
STREAM = "5a8d0c1e-2f34-4c7b-8a21-7d90e1b2c3d4"
EPOCH = 1_760_000_000.0
FRAME = b"\x55" * 160


def carrier(
    audio_format: AudioFormat = MULAW_8K,
    *,
    tracks: tuple[str, ...] = ("inbound",),
    profile: Profile = DOCUMENTED,
    bidirectional: bool = True,
) -> CarrierStream:
    return CarrierStream(
        Start(STREAM, CALL, audio_format, "MA1", tracks),
        first_sequence=profile.first_sequence,
        epoch=EPOCH,
        bidirectional=bidirectional,
    )


class Pair:
    """Both ends of one stream, joined."""

    def __init__(self, end: CarrierStream | None = None) -> None:
        self.carrier = end or carrier()
        self.app = AppStream()
        self.sent: list[dict[str, Any]] = []

    def flow(self, now: float = 0.0) -> list[StreamEvent]:
        """What the app hears of all that the carrier has sent."""
        for message in self.carrier.to_send():
            self.sent.append(json.loads(message))
            self.app.receive(message, now)
        return self.app.events()

    def say(self, *messages: bytes) -> list[StreamEvent]:
        """What the carrier hears of these messages."""
        for message in messages:
            self.carrier.receive(message)
        return self.carrier.events()


def opened(end: CarrierStream | None = None) -> Pair:
    pair = Pair(end)
    pair.carrier.open()
    pair.flow()
    return pair


def test_a_conversation_is_the_same_at_both_ends() -> None:
    pair = Pair()
    end = pair.carrier
    end.open()
    end.send_media("inbound", FRAME, 0.02)
    end.send_dtmf("5", 0.03)
    assert pair.flow() == [
        Start(STREAM, CALL, MULAW_8K, "MA1"),
        Media(FRAME, "inbound", "1760000000020", 1),
        Dtmf("5", "inbound", "1760000000030"),
    ]
    assert pair.app.start == end.start
    assert pair.app.format == MULAW_8K
    app = pair.app
    said = pair.say(app.play(FRAME, 0.1), app.checkpoint("a"), app.clear(0.2), app.send_dtmf("12#"))
    assert said == [PlayAudio(FRAME, MULAW_8K), Checkpoint("a"), ClearAudio(), SendDtmf("12#")]
    end.send_played("a")
    end.send_cleared()
    end.stop("hangup", say_so=True)
    assert pair.flow(0.3) == [PlayedStream("a"), ClearedAudio(), Stop("hangup")]
    assert (end.state, app.state) == (State.ENDED, State.ENDED)
    assert end.mistakes == app.mistakes == {}
    assert app.lost == 0


@pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)
def test_numbers_are_contiguous_over_all_messages_and_chunks_over_each_track(profile: Profile) -> None:
    pair = Pair(carrier(tracks=("inbound", "outbound"), profile=profile))
    pair.carrier.open()
    for frame in range(5):
        pair.carrier.send_media("inbound", FRAME, frame * 0.02)
        if frame % 2:
            pair.carrier.send_played("a")
        pair.carrier.send_media("outbound", FRAME, frame * 0.02)
        pair.carrier.send_cleared()
        pair.carrier.send_dtmf("1", 0.0)
    pair.carrier.stop("hangup", say_so=True)
    pair.flow()
    numbers = [message["sequenceNumber"] for message in pair.sent]
    assert numbers == list(range(profile.first_sequence, profile.first_sequence + len(numbers)))
    for track in ("inbound", "outbound"):
        media = [message["media"] for message in pair.sent if message.get("media", {}).get("track") == track]
        assert [entry["chunk"] for entry in media] == [1, 2, 3, 4, 5]
        assert [entry["timestamp"] for entry in media] == [str(1_760_000_000_000 + 20 * at) for at in range(5)]


@pytest.mark.parametrize("epoch", [0.0, 1_760_000_000.0, 1_760_000_000.1234567])
def test_timestamps_are_strings_of_milliseconds_that_advance_by_a_frame(epoch: float) -> None:
    end = CarrierStream(Start(STREAM, CALL, MULAW_8K), first_sequence=0, epoch=epoch, bidirectional=True)
    end.open()
    for frame in range(1000):
        end.send_media("inbound", b"", 7.0 + frame * 0.02)
    stamps = [json.loads(message)["media"]["timestamp"] for message in end.to_send()[1:]]
    assert all(isinstance(stamp, str) for stamp in stamps)
    assert int(stamps[0]) == round((epoch + 7) * 1000)
    assert {int(after) - int(before) for before, after in pairwise(stamps)} <= {19, 20, 21}
    assert int(stamps[-1]) - int(stamps[0]) == pytest.approx(999 * 20, abs=1)


CARRIER_SAYS: dict[str, Callable[[CarrierStream], None]] = {
    "Media": lambda end: end.send_media("inbound", FRAME, 0.0),
    "Dtmf": lambda end: end.send_dtmf("1", 0.0),
    "PlayedStream": lambda end: end.send_played("a"),
    "ClearedAudio": lambda end: end.send_cleared(),
}
APP_SAYS: dict[str, Callable[[AppStream], bytes]] = {
    "PlayAudio": lambda app: app.play(FRAME, 0.0),
    "Checkpoint": lambda app: app.checkpoint("a"),
    "ClearAudio": lambda app: app.clear(0.0),
    "SendDtmf": lambda app: app.send_dtmf("1"),
}


@pytest.mark.parametrize("message", CARRIER_SAYS)
def test_the_carrier_says_nothing_before_start_or_after_the_end(message: str) -> None:
    end = carrier()
    with pytest.raises(UsageError, match=f"{message} cannot be sent on a stream that is new"):
        CARRIER_SAYS[message](end)
    end.open()
    CARRIER_SAYS[message](end)
    end.end()
    with pytest.raises(UsageError, match=f"{message} cannot be sent on a stream that is ended"):
        CARRIER_SAYS[message](end)
    assert [json.loads(sent)["sequenceNumber"] for sent in end.to_send()] == [1, 2]


def test_a_stream_starts_once() -> None:
    end = carrier()
    end.open()
    with pytest.raises(UsageError, match="Start cannot be sent on a stream that is open"):
        end.open()
    end.end()
    with pytest.raises(UsageError, match="ended"):
        end.open()


@pytest.mark.parametrize("message", APP_SAYS)
def test_the_app_says_nothing_before_start_or_after_the_end(message: str) -> None:
    app = AppStream()
    with pytest.raises(UsageError, match=f"{message} cannot be sent on a stream that is new"):
        APP_SAYS[message](app)
    end = carrier()
    end.open()
    app.receive(end.to_send()[0], 0.0)
    assert APP_SAYS[message](app)
    app.end()
    with pytest.raises(UsageError, match=f"{message} cannot be sent on a stream that is ended"):
        APP_SAYS[message](app)


def test_the_format_is_not_known_before_start() -> None:
    with pytest.raises(UsageError, match="not known yet"):
        _ = AppStream().format


def test_the_carrier_sends_only_the_tracks_it_announced() -> None:
    end = carrier()
    end.open()
    with pytest.raises(UsageError, match="inbound alone, and not outbound"):
        end.send_media("outbound", FRAME, 0.0)
    end.send_media("inbound", FRAME, 0.0)
    assert [json.loads(sent)["sequenceNumber"] for sent in end.to_send()] == [1, 2]


def raw(fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_an_app_that_speaks_before_start_is_told_once() -> None:
    end = carrier()
    app = opened().app
    end.receive(app.play(FRAME, 0.0))
    end.receive(app.clear(0.0))
    assert end.events() == [Mistake("out-of-order", "the peer sent PlayAudio before start")]
    assert end.mistakes == {"out-of-order": 2}
    assert end.state is State.NEW


def test_a_carrier_that_speaks_before_start_or_starts_twice_is_told() -> None:
    pair = Pair()
    pair.app.receive(raw({"event": "media", "media": {"payload": "//8="}}), 0.0)
    assert pair.app.events() == [Mistake("out-of-order", "the peer sent Media before start")]
    pair.carrier.open()
    start = pair.carrier.to_send()[0]
    pair.app.receive(start, 0.0)
    assert len(pair.app.events()) == 1
    pair.app.receive(start, 0.0)
    assert pair.app.events() == []
    assert pair.app.mistakes == {"out-of-order": 2}
    assert pair.app.state is State.OPEN


def test_what_was_on_its_way_when_the_stream_ended_is_nobodys_mistake() -> None:
    pair = opened()
    play = pair.app.play(FRAME, 0.0)
    pair.carrier.send_media("inbound", FRAME, 0.0)
    late = pair.carrier.to_send()
    pair.carrier.end()
    pair.app.end()
    assert pair.say(play) == []
    for message in late:
        pair.app.receive(message, 0.0)
    assert pair.app.events() == []
    assert pair.carrier.mistakes == pair.app.mistakes == {}


def test_stop_is_said_only_where_the_profile_says_it_and_only_on_an_open_stream() -> None:
    new = carrier()
    new.stop("connection_failed", say_so=True)
    assert (new.to_send(), new.state) == ([], State.ENDED)
    silent = opened().carrier
    silent.stop("hangup", say_so=False)
    assert (silent.to_send(), silent.state) == ([], State.ENDED)
    end = opened().carrier
    end.stop("hangup", say_so=True)
    end.stop("hangup", say_so=True)
    assert [json.loads(message)["event"] for message in end.to_send()] == ["stop"]


@pytest.mark.parametrize("message", APP_SAYS)
def test_a_one_way_stream_takes_nothing_from_the_app(message: str) -> None:
    pair = opened(carrier(bidirectional=False))
    said = pair.say(APP_SAYS[message](pair.app), APP_SAYS[message](pair.app))
    assert said == [
        Mistake("one-way", f'{message} on a one-way stream: <Stream> lacks bidirectional="true"'),
    ]
    assert pair.carrier.mistakes == {"one-way": 2}


def test_half_a_sample_is_dropped_and_named_at_both_ends() -> None:
    pair = opened(carrier(L16_16K))
    odd = raw({"event": "playAudio", "media": {"contentType": "audio/x-l16", "sampleRate": 16000, "payload": "AAAA"}})
    own = raw({"event": "playAudio", "media": {"payload": "AAAA"}})
    events = pair.say(odd, own)
    assert [event.code for event in events if isinstance(event, Mistake)] == ["odd-bytes", "odd-playAudio"]
    assert len(events) == 2
    assert pair.carrier.mistakes["odd-bytes"] == 2
    pair.app.receive(raw({"event": "media", "media": {"payload": "AAAA", "chunk": 1}}), 0.0)
    pair.app.receive(raw({"event": "media", "media": {"payload": "AAAAAA==", "chunk": 2}}), 0.0)
    mistake, media = pair.app.events()
    assert isinstance(mistake, Mistake)
    assert mistake.code == "odd-bytes"
    assert media == Media(bytes(4), "inbound", "", 2)
    assert pair.app.lost == 0
    with pytest.raises(UsageError, match="3 bytes of audio/x-l16;rate=16000 are not a whole number of samples"):
        pair.app.play(bytes(3), 0.0)
    assert pair.app.ledger.sent_ms == 0


def test_a_wav_header_in_a_chunk_is_played_and_named() -> None:
    pair = opened(carrier(L16_16K))
    wav = wav_header(16000, 1, 640) + bytes(640)
    mistake, *played = pair.say(pair.app.play(wav, 0.0), pair.app.play(wav, 0.0))
    assert isinstance(mistake, Mistake)
    assert (mistake.code, "without one" in mistake.text) == ("wav-header", True)
    assert played == [PlayAudio(wav, L16_16K)] * 2
    assert pair.carrier.mistakes["wav-header"] == 2
    letters = b"RIFF" * 80
    assert pair.say(pair.app.play(letters, 0.0)) == [PlayAudio(letters, L16_16K)]
    assert pair.carrier.mistakes["wav-header"] == 2, "no header, only its letters"


def test_an_odd_number_of_mulaw_bytes_is_fine() -> None:
    pair = opened(carrier(L16_8K))
    assert pair.say(pair.app.play(b"\xff" * 3, 0.0, MULAW_8K)) == [PlayAudio(b"\xff" * 3, MULAW_8K)]


def test_a_mistake_is_told_once_of_its_kind_and_always_counted() -> None:
    pair = opened()
    twilio, unknown = raw({"event": "mark"}), raw({"event": "dance"})
    codes = [
        event.code for event in pair.say(twilio, unknown, twilio, unknown, b"", twilio) if isinstance(event, Mistake)
    ]
    assert codes == ["twilio-mark", "unknown-event", "not-json"]
    assert pair.carrier.mistakes == {"twilio-mark": 3, "unknown-event": 2, "not-json": 1}
    assert pair.carrier.state is State.OPEN


def test_what_is_tolerated_counts_as_a_mistake_and_is_obeyed() -> None:
    pair = opened()
    odd = raw({"event": "checkPoint", "name": "a"})
    first, *rest = pair.say(odd, odd)
    assert isinstance(first, Mistake)
    assert rest == [Checkpoint("a"), Checkpoint("a")]
    assert pair.carrier.mistakes == {"odd-checkPoint": 2}


def media(chunk: int, track: str = "inbound") -> bytes:
    return raw({"event": "media", "media": {"track": track, "payload": "//8=", "chunk": chunk}})


def test_media_is_lost_where_its_chunks_have_gaps() -> None:
    app = opened().app
    for chunk in (5, 6, 9, 10, 10, 3, 4):  # the carrier may begin anywhere, repeat one, and begin anew
        app.receive(media(chunk), 0.0)
    app.receive(media(1, "outbound"), 0.0)
    app.receive(media(4, "outbound"), 0.0)
    app.receive(raw({"event": "media", "media": {"payload": "//8="}}), 0.0)
    app.receive(media(5), 0.0)
    assert app.lost == 2 + 2
    assert len(app.events()) == 11


def test_acknowledgements_that_nothing_waits_for_are_named_and_not_passed_on() -> None:
    pair = opened()
    pair.carrier.send_played("never sent")
    pair.carrier.send_cleared()
    codes = [event.code for event in pair.flow(1.0) if isinstance(event, Mistake)]
    assert codes == ["stray-played", "stray-cleared"]
    assert pair.app.events() == []


def test_the_app_presses_only_keys_that_there_are() -> None:
    app = opened().app
    for digits in ("", "12x", "1x2", "ä"):
        with pytest.raises(UsageError, match="not all keys"):
            app.send_dtmf(digits)


def test_the_ledger_is_kept() -> None:
    pair = opened()
    pair.say(pair.app.play(FRAME * 5, 1.0), pair.app.checkpoint("a"), pair.app.play(bytes(320), 1.0, L16_8K))
    assert pair.app.ledger.sent_ms == 120
    pair.carrier.send_played("a")
    pair.flow(1.1)
    assert pair.app.ledger.heard_ms() == 100
    pair.say(pair.app.clear(1.1))
    pair.carrier.send_cleared()
    pair.flow(1.15)
    assert (pair.app.ledger.cleared_ms, pair.app.ledger.unplayed_ms) == (20, 0)


@given(st.lists(st.sampled_from(sorted(CARRIER_SAYS)) | st.sampled_from(sorted(APP_SAYS)), max_size=40))
def test_whatever_is_said_both_ends_agree(said: list[str]) -> None:
    pair = opened(carrier(L16_8K))
    names: list[str] = []
    for message in said:
        if message in CARRIER_SAYS:
            CARRIER_SAYS[message](pair.carrier)
            names += [type(event).__name__ for event in pair.flow()]
        else:
            names += [type(event).__name__ for event in pair.say(APP_SAYS[message](pair.app))]
    stray = {"stray-played", "stray-cleared"}
    assert set(pair.app.mistakes) <= stray
    assert pair.carrier.mistakes == {}
    assert pair.app.lost == 0
    heard = [name for name in names if name != "Mistake"]
    assert len(heard) == len(said) - pair.app.mistakes.total()
    assert [message["sequenceNumber"] for message in pair.sent] == list(range(1, len(pair.sent) + 1))
