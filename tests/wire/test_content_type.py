from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.format import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from bothway.errors import PeerError
from bothway.wire.content_type import STREAM_CONTENT_TYPES, parse_play_format, parse_stream_content_type


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("audio/x-mulaw;rate=8000", MULAW_8K),
        ("audio/x-l16;rate=8000", L16_8K),
        ("audio/x-l16;rate=16000", L16_16K),
        ("audio/x-l16;rate=24000", L16_24K),
        (" audio/x-l16; rate=16000\n", L16_16K),
        ("Audio/X-MULAW;Rate=8000", MULAW_8K),
    ],
)
def test_the_four_stream_types_are_read(text: str, form: AudioFormat) -> None:
    assert parse_stream_content_type(text) == form
    assert parse_stream_content_type(str(form)) == form


@pytest.mark.parametrize(
    "text", ["", "audio/x-mulaw", "audio/x-mulaw;rate=16000", "audio/x-l16;rate=44100", "audio/mpeg", "x" * 500]
)
def test_another_stream_type_is_refused_with_the_four_named(text: str) -> None:
    with pytest.raises(PeerError) as caught:
        parse_stream_content_type(text)
    assert all(name in str(caught.value) for name in STREAM_CONTENT_TYPES)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("rate", [8000, "8000", 8000.0, " 8000 ", None, ""])
def test_mulaw_is_read_with_a_rate_of_any_json_type(rate: object) -> None:
    assert parse_play_format("audio/x-mulaw", rate) == (MULAW_8K, None)


@pytest.mark.parametrize(("rate", "form"), [(8000, L16_8K), ("16000", L16_16K), (24000, L16_24K), (None, None)])
def test_l16_is_read_at_its_rate_and_without_one_is_the_streams_own(rate: object, form: AudioFormat | None) -> None:
    assert parse_play_format("audio/x-l16", rate) == (form, None)


@pytest.mark.parametrize(
    ("content_type", "rate", "form", "remark"),
    [
        ("audio/x-l16;rate=16000", None, L16_16K, "is written 'audio/x-l16' with sampleRate 16000"),
        ("audio/x-l16;rate=16000", 16000, L16_16K, "is written 'audio/x-l16' with sampleRate 16000"),
        ("audio/x-l16; rate=8000", "16000", L16_16K, "is written 'audio/x-l16' with sampleRate 16000"),
        ('audio/x-mulaw;channels=1;rate="8000"', None, MULAW_8K, "is written 'audio/x-mulaw' with sampleRate 8000"),
        ("audio/l16/16000", None, L16_16K, "is written 'audio/x-l16' with sampleRate 16000"),
        ("audio/x-mulaw/8000", 8000, MULAW_8K, "is written 'audio/x-mulaw' with sampleRate 8000"),
        ("audio/l16", 16000, L16_16K, "is written 'audio/x-l16'"),
        ("audio/L16", 24000, L16_24K, "is written 'audio/x-l16'"),
        ("audio/pcm;rate=24000", None, L16_24K, "is written 'audio/x-l16' with sampleRate 24000"),
        ("l16", None, None, "is written 'audio/x-l16'"),
        ("audio/mulaw", 8000, MULAW_8K, "is written 'audio/x-mulaw'"),
        ("audio/pcmu", 8000, MULAW_8K, "is written 'audio/x-mulaw'"),
        ("audio/basic", None, MULAW_8K, "is written 'audio/x-mulaw'"),
        ("Audio/X-Mulaw", 8000, MULAW_8K, "is written 'audio/x-mulaw'"),
    ],
)
def test_what_can_mean_one_thing_only_is_understood_with_a_remark(
    content_type: str, rate: object, form: AudioFormat | None, remark: str
) -> None:
    found, said = parse_play_format(content_type, rate)
    assert found == form
    assert said == f"its contentType is {content_type!r}, which {remark}"


@pytest.mark.parametrize("content_type", ["raw", "wav", "audio/wav", "audio/x-wav;rate=8000", "WAV"])
def test_raw_and_wav_are_the_streams_own_format_with_a_remark(content_type: str) -> None:
    form, said = parse_play_format(content_type, "8000")
    assert form is None
    assert said is not None
    assert "stream's own format" in said


@pytest.mark.parametrize(
    ("content_type", "rate"),
    [
        ("audio/x-mulaw", 16000),
        ("audio/x-mulaw;rate=16000", None),
        ("audio/x-mulaw", 0),
        ("audio/x-l16", 44100),
        ("audio/x-l16", "44100"),
        ("audio/x-l16/11025", None),
        ("audio/x-l16", -8000),
        ("audio/mpeg", 8000),
        ("audio/x-alaw", 8000),
        ("", 8000),
        ("audio/l16/" + "9" * 20, None),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_choice_named(content_type: str, rate: object) -> None:
    with pytest.raises(PeerError, match="8000, 16000 or 24000"):
        parse_play_format(content_type, rate)


@pytest.mark.parametrize("rate", [True, 8000.5, float("nan"), "8k", "8000 Hz", "٨٠٠٠", [8000], {}])
def test_a_rate_that_is_no_number_is_refused(rate: object) -> None:
    with pytest.raises(PeerError, match="no whole number of samples a second"):
        parse_play_format("audio/x-l16", rate)


@given(st.text(max_size=40), st.none() | st.integers() | st.floats() | st.text(max_size=12) | st.booleans())
def test_nothing_but_a_peer_error_comes_of_junk(content_type: str, rate: object) -> None:
    with contextlib.suppress(PeerError):
        form, _ = parse_play_format(content_type, rate)
        assert form is None or str(form) in STREAM_CONTENT_TYPES
