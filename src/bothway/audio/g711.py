"""ITU-T G.711: µ-law and A-law to and from L16, and to each other.

The work is done by `audioop` (audioop-lts from Python 3.13 on): 0.1 to 0.3 µs a frame, where NumPy takes 1 µs
(dependencies.md, section B). Where it stands to the standard:

- Decoding is G.711's, code by code: µ-law's 14-bit values come out times 4, A-law's 13-bit values times 8.
- Encoding takes `sample >> 2` (µ-law) and `sample >> 3` (A-law) for the uniform value of the standard; both shifts
  round towards minus infinity. A value that stands exactly on a decision value, where G.711 leaves the choice, goes
  away from zero in µ-law, and towards plus infinity in A-law. For positive samples that is the standard applied to the
  16-bit value itself. A negative one, -m, gets the mirror image of the code of m + 3 in µ-law (so -1 to -8 become -8)
  and of m - 1 in A-law.
- What was decoded encodes to the code it came from, but for µ-law's negative zero (0x7F): it decodes to 0, and that
  encodes to the positive one (0xFF).
"""

from __future__ import annotations

from bothway.audio.l16 import check_l16
from bothway.audio.native import audioop

__all__ = ["alaw_to_l16", "alaw_to_mulaw", "l16_to_alaw", "l16_to_mulaw", "mulaw_to_alaw", "mulaw_to_l16"]

_CODES = bytes(range(256))
_MULAW_TO_ALAW = audioop.lin2alaw(audioop.ulaw2lin(_CODES, 2), 2)
_ALAW_TO_MULAW = audioop.lin2ulaw(audioop.alaw2lin(_CODES, 2), 2)


def mulaw_to_l16(mulaw: bytes) -> bytes:
    """L16 of µ-law audio, two bytes for each one."""
    return audioop.ulaw2lin(mulaw, 2)


def l16_to_mulaw(l16: bytes) -> bytes:
    """µ-law of L16 audio, one byte for each two.

    Raises:
        UsageError: `l16` is not a whole number of samples.
    """
    check_l16(l16)
    return audioop.lin2ulaw(l16, 2)


def alaw_to_l16(alaw: bytes) -> bytes:
    """L16 of A-law audio, two bytes for each one."""
    return audioop.alaw2lin(alaw, 2)


def l16_to_alaw(l16: bytes) -> bytes:
    """A-law of L16 audio, one byte for each two.

    Raises:
        UsageError: `l16` is not a whole number of samples.
    """
    check_l16(l16)
    return audioop.lin2alaw(l16, 2)


def mulaw_to_alaw(mulaw: bytes) -> bytes:
    """A-law of µ-law audio, the same as through L16.

    G.711's own conversion tables (3 and 4) differ from that by one interval at some codes; here what was decoded for
    mixing and what was not must come out the same.
    """
    return mulaw.translate(_MULAW_TO_ALAW)


def alaw_to_mulaw(alaw: bytes) -> bytes:
    """µ-law of A-law audio, the same as through L16 (see `mulaw_to_alaw`)."""
    return alaw.translate(_ALAW_TO_MULAW)
