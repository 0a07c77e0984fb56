"""The two ways in which Plivo's stream names an audio format, and what people write instead.

`<Stream contentType>` holds one text, `audio/x-l16;rate=16000`; `playAudio` splits it into a `contentType` without a
rate and a `sampleRate` (plivo-protocol.md, 1.2 and 3.1). The two are often mixed up, so what can mean one thing only is
understood, with a remark that says how it is written.
"""

from __future__ import annotations

import re

from bothway.audio.format import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat, Encoding
from bothway.errors import PeerError

__all__ = ["STREAM_CONTENT_TYPES", "parse_play_format", "parse_stream_content_type"]

STREAM_CONTENT_TYPES: dict[str, AudioFormat] = {str(form): form for form in (MULAW_8K, L16_8K, L16_16K, L16_24K)}
"""The four values of `<Stream contentType>`, as they are written (plivo-protocol.md, 1.2; 24 kHz is the newest)."""

_NAMES = {
    Encoding.MULAW: (
        "audio/x-mulaw", "audio/mulaw", "audio/x-ulaw", "audio/ulaw", "audio/pcmu", "audio/basic",
        "mulaw", "ulaw", "pcmu",
    ),
    Encoding.L16: ("audio/x-l16", "audio/l16", "audio/pcm", "audio/x-pcm", "l16", "linear16", "pcm"),
}  # fmt: skip
_ENCODINGS = {name: encoding for encoding, names in _NAMES.items() for name in names}
_STREAMS_OWN = {"raw", "audio/raw", "wav", "audio/wav", "audio/x-wav", "audio/wave"}
_TYPE_AND_RATE = re.compile(r"(?P<type>[^;]*?)(?:/(?P<path>\d{1,9}))?(?:;(?P<parameters>.*))?", re.DOTALL)
_RATE = re.compile(r"rate=\"?(\d{1,9})\"?")


def parse_stream_content_type(text: str) -> AudioFormat:
    """Read `<Stream contentType>`: one of `STREAM_CONTENT_TYPES`, in any case and with any white space.

    Raises:
        PeerError: It is another value; the sentence names the four.
    """
    plain = re.sub(r"\s+", "", text).lower()
    if plain not in STREAM_CONTENT_TYPES:
        raise PeerError(
            f"the answer document asks for contentType {_shown(text)}, and a stream is one of "
            + ", ".join(STREAM_CONTENT_TYPES)
        )
    return STREAM_CONTENT_TYPES[plain]


def parse_play_format(content_type: str, sample_rate: object) -> tuple[AudioFormat | None, str | None]:
    """Read the `contentType` and `sampleRate` of a `playAudio`.

    | `contentType` | understood as |
    |---|---|
    | `audio/x-mulaw`, `audio/x-l16` | themselves, with a rate that is a whole number or the text of one |
    | either with `;rate=16000`, or `audio/l16/16000` | the type at `sampleRate`, else at that rate; with a remark |
    | `audio/l16`, `audio/mulaw`, `audio/pcmu`, `pcm` … | the type that it is another name of; with a remark |
    | `raw`, `wav` | the stream's own format; with a remark |

    L16 is little-endian under every name (plivo-protocol.md, 2.4), RFC 3551's `audio/L16` included: those who write
    it send what their speech vendor gave them.

    Args:
        content_type: As sent.
        sample_rate: As sent: any JSON value, None where it is missing.

    Returns:
        The format, or None for "the stream's own": L16 without any rate, `raw` and `wav`. And a remark, or None where
        all is as documented: a clause about "its contentType" that says what is written instead.

    Raises:
        PeerError: It cannot be meant: another codec, a rate that no stream has, µ-law at another rate than 8000.
    """
    match = _TYPE_AND_RATE.fullmatch(re.sub(r"\s+", "", content_type).lower())
    assert match is not None  # every part of the pattern may be empty
    written, parameters = match["type"], match["parameters"] or ""
    found = _RATE.search(parameters)
    inner = int(match["path"] or (found[1] if found else 0)) or None
    rate = _rate(sample_rate)
    rate = inner if rate is None else rate
    if written in _STREAMS_OWN:
        return None, (
            f"its contentType is {_shown(content_type)}: samples without a header are sent as 'audio/x-mulaw' or "
            "'audio/x-l16' with a sampleRate, so this is taken to be in the stream's own format"
        )
    encoding = _ENCODINGS.get(written)
    if encoding is None:
        raise PeerError(f"contentType {_shown(content_type)} is not one that can be played: {_CHOICE}")
    if encoding is Encoding.MULAW and rate is None:
        rate = MULAW_8K.rate
    form = _format(encoding, rate) if rate is not None else None
    if content_type == encoding.value:
        return form, None
    return form, f"its contentType is {_shown(content_type)}, which is written {encoding.value!r}" + (
        f" with sampleRate {rate}" if inner is not None else ""
    )


_CHOICE = "'audio/x-mulaw' with sampleRate 8000, or 'audio/x-l16' with sampleRate 8000, 16000 or 24000"
_FORMATS = {(form.encoding, form.rate): form for form in STREAM_CONTENT_TYPES.values()}


def _format(encoding: Encoding, rate: int) -> AudioFormat:
    form = _FORMATS.get((encoding, rate))
    if form is None:
        raise PeerError(f"{encoding.value} at sampleRate {rate} is not one that can be played: {_CHOICE}")
    return form


def _rate(sample_rate: object) -> int | None:
    """A rate of any JSON type; None where it is missing."""
    match sample_rate:
        case None | "":
            return None
        case bool():
            pass  # JSON's true is no rate, although Python counts it among the integers
        case int():
            return sample_rate
        case float() if sample_rate.is_integer():
            return int(sample_rate)
        case str() if re.fullmatch(r"\s*\d{1,9}\s*", sample_rate, re.ASCII):
            return int(sample_rate)
    raise PeerError(f"sampleRate {_shown(sample_rate)} is no whole number of samples a second: {_CHOICE}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
