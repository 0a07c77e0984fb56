"""Makes the folder of a call whose truth is known: what was said when, and what the log tells."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bothway.audio.wav import wav_header

RATE = 8000


def tone(ms: int, *, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    """Something like a voice: a buzz at -20 dBFS or so whose loudness follows syllables, and never falls quiet."""
    count = RATE * ms // 1000
    at = np.arange(count) / RATE
    pitch = 120 + 40 * (seed % 5)
    voice = sum(np.sin(2 * np.pi * pitch * n * at) / n for n in range(1, 12))
    syllables = 0.6 + 0.4 * np.sin(2 * np.pi * (3.5 + seed % 3) * at - np.pi / 2)
    return np.asarray(voice * syllables * 5000, np.int16)


@dataclass
class CallFolder:
    """A call as it is made up. Times are on the media clock, in milliseconds."""

    path: Path
    length_ms: int
    records: list[dict[str, object]] = field(default_factory=list)
    answered_at: float = 0.5

    def __post_init__(self) -> None:
        self.audio = np.zeros((RATE * self.length_ms // 1000, 2), np.int16)
        self.call: dict[str, object] = {
            "schema": 1,
            "call_id": "7c4e1f9a-0b57-4d1c-9a55-3f0d3a1c2b11",
            "wall": "2026-03-01T10:00:00.000+00:00",
            "from": "15550001",
            "to": "15550100",
            "direction": "inbound",
            "leg": "audio/x-mulaw;rate=8000",
            "profile": "documented",
        }

    def record(self, event: str, t_ms: int, at: float | None = None, **facts: object) -> CallFolder:
        at = self.answered_at + t_ms / 1000 if at is None else at
        self.records.append({"event": event, "t_ms": t_ms, "at": round(at, 4), **facts})
        return self

    def begin(self, *, stream_after_ms: int = 120) -> CallFolder:
        """The call comes in, is answered, and has a stream."""
        self.record("call", 0, 0.0, **self.call)
        self.record("document", 0, 0.2, kind="answer", bytes=181, ms=180.5)
        self.record("answered", 0)
        self.record("verb", 0, element="Stream")
        self.record("stream_opening", 0, stream_id="s1")
        opened = self.answered_at + stream_after_ms / 1000
        return self.record(
            "stream_started", stream_after_ms // 20 * 20, opened, stream_id="s1", format="audio/x-l16;rate=8000"
        )

    def end(self, *, source: str = "Caller", ran_to_end: bool = True) -> CallFolder:
        self.record("stream_ended", self.length_ms, stream_id="s1", text="the call ended", failed=False)
        return self.record(
            "ended", self.length_ms, code=4000, name="Normal Hangup", source=source, detail="", ran_to_end=ran_to_end
        )

    def caller_speaks(self, start_ms: int, ms: int) -> CallFolder:
        self._put(0, start_ms, tone(ms, seed=1))
        return self

    def app_speaks(self, start_ms: int, ms: int, *, told: bool = True) -> CallFolder:
        """The caller hears the app; the log tells where its audio begins."""
        self._put(1, start_ms, tone(ms, seed=3))
        return self.record("play", start_ms, ms=400.0) if told else self

    def _put(self, channel: int, start_ms: int, samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> None:
        start = RATE * start_ms // 1000
        self.audio[start : start + len(samples), channel] = samples

    def write(self) -> Path:
        """Write both files. The records go out in the order of their time."""
        self.path.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps(record, ensure_ascii=False) for record in sorted(self.records, key=lambda r: float(str(r["at"])))
        ]
        (self.path / "log.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        samples = self.audio.astype("<i2").tobytes()
        (self.path / "audio.wav").write_bytes(wav_header(RATE, 2, len(samples)) + samples)
        return self.path


def conversation(path: Path) -> CallFolder:
    """Two turns, a barge-in, keys, checkpoints and a mistake, in 16 seconds."""
    call = CallFolder(path, 16_000).begin()
    call.record("mistake", 300, code="unknown-event", text="'mark' is no event of this protocol: checkpoint is meant")
    call.app_speaks(400, 1600).record("checkpoint", 400, name="greeting", accepted=True)
    call.record("played", 2000, name="greeting")
    call.caller_speaks(2600, 1400).app_speaks(4640, 1800)
    call.record("checkpoint", 4640, name="offer", accepted=True).record("played", 6440, name="offer")
    call.record("dtmf", 6900, digit="4").record("dtmf", 7100, digit="2").record("dtmf", 7300, digit="#")
    call.app_speaks(8000, 1400).caller_speaks(9100, 1300)
    call.record("cleared", 9400, ms=2600.0)
    call.app_speaks(11_300, 2400).record("send_dtmf", 13_800, digits="1")
    for second in range(1, 17):
        counted = {
            "sounding": 20,
            "app_ms": 600,
            "gaps": int(second == 5),
            "overruns": 0,
            "slips": 2 * (second == 9),
            "queued_ms": 0,
        }
        call.record("media", second * 1000, None, frames=second * 50, **counted)
    call.record("callback", 16_000, 16.6, kind="hangup", url="http://127.0.0.1:5000/hangup", what="Hangup", status=200)
    return call.end()
