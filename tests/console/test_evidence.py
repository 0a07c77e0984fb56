from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.console.call_folder import RATE, CallFolder, conversation, tone

from bothway.audio.format import MULAW_8K
from bothway.audio.g711 import l16_to_mulaw
from bothway.audio.level import SpeechGate, rms_dbfs
from bothway.carrier.evidence import Evidence
from bothway.carrier.writer import Writer
from bothway.console.evidence import CallEvidence, Utterance, read_evidence
from bothway.errors import UsageError

TRUTH = (
    Utterance("app", 400, 2000),
    Utterance("caller", 2600, 4000),
    Utterance("app", 4640, 6440),
    Utterance("app", 8000, 9400),
    Utterance("caller", 9100, 10_400),
    Utterance("app", 11_300, 13_700),
)


def test_a_whole_call(tmp_path: Path) -> None:
    call = conversation(tmp_path / "call")
    evidence = read_evidence(call.write())
    assert evidence.complete
    assert evidence.remarks == ()
    assert evidence.call_id == call.call["call_id"]
    assert evidence.rate == RATE
    assert evidence.duration_ms == evidence.recorded_ms == 16_000
    assert evidence.from_caller == call.audio[:, 0].tobytes()
    assert evidence.to_caller == call.audio[:, 1].tobytes()
    assert evidence.recording == tmp_path / "call" / "audio.wav"
    assert len(evidence.records) == len(call.records)
    assert evidence.records[0].text("from") == "15550001"
    answered = evidence.first("answered")
    assert answered is not None
    assert (answered.t_ms, answered.at) == (0, 0.5)
    assert evidence.first("nothing") is None


def test_utterances_are_exact_to_the_frame(tmp_path: Path) -> None:
    assert read_evidence(conversation(tmp_path).write()).utterances == TRUTH


def test_facts_of_the_wrong_kind_are_none(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 200).begin().record("play", 0, ms="many")
    record = read_evidence(call.end().write()).first("play")
    assert record is not None
    assert (record.number("ms"), record.number("queued_ms"), record.text("name")) == (0, 0, "")


async def test_what_the_carrier_writes_is_read(tmp_path: Path) -> None:
    failures: list[str] = []
    writer = Writer()
    kept = Evidence(writer, tmp_path / "c1", on_record=None, on_failure=lambda name, _: failures.append(name))
    kept.record("call", t_ms=0, at=0.0, schema=1, call_id="c1")
    recording = kept.record_audio(MULAW_8K)
    assert recording is not None
    kept.record("answered", t_ms=0, at=0.25)
    voice, silence = l16_to_mulaw(tone(1500).tobytes()), MULAW_8K.silent_frame
    for frame in range(75):
        recording.frame(voice[frame * 160 : frame * 160 + 160], silence)
    kept.record("ended", t_ms=1500, at=1.75, code=4000, ran_to_end=True)
    kept.close()
    await writer.close()
    evidence = read_evidence(tmp_path / "c1")
    assert failures == []
    assert evidence.complete
    assert evidence.utterances == (Utterance("caller", 0, 1500),)


def test_a_prompt_is_the_carriers_voice(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 6000).begin().record("verb", 0, element="Speak")
    call.app_speaks(200, 1000, told=False).app_speaks(2000, 1000).record("stream_ended", 3100, stream_id="s1")
    call.app_speaks(4000, 800, told=False).end()
    speakers = [utterance.speaker for utterance in read_evidence(call.write()).utterances]
    assert speakers == ["carrier", "app", "carrier"]


def test_a_log_that_ends_within_a_line(tmp_path: Path) -> None:
    folder = conversation(tmp_path).write()
    log = folder / "log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[:-10])
    evidence = read_evidence(folder)
    assert not evidence.complete
    assert evidence.remarks == ("log.jsonl ends in a half-written line, which was left out",)
    assert len(evidence.records) == whole.count(b"\n") - 1


def test_a_log_without_its_end(tmp_path: Path) -> None:
    evidence = read_evidence(CallFolder(tmp_path, 400).begin().write())
    assert not evidence.complete
    assert "does not tell how the call ended" in evidence.remarks[0]


@pytest.mark.parametrize(
    "line",
    [b"\xff\xfe", b"[1]", b'{"event": 1, "t_ms": 0, "at": 0}', b'{"event": "x", "t_ms": 1.5, "at": 0}', b"",
     b'{"event": "x", "t_ms": 0}', b'{"event": "x", "t_ms": 0, "at": true}', b"[" * 100_000],
)  # fmt: skip
def test_lines_that_are_no_records(tmp_path: Path, line: bytes) -> None:
    folder = conversation(tmp_path).write()
    log = folder / "log.jsonl"
    first, _, rest = log.read_bytes().partition(b"\n")
    log.write_bytes(b"\n".join((first, line, rest)))
    evidence = read_evidence(folder)
    assert evidence.remarks == ("line 2 of log.jsonl is not a record, and was left out",)
    assert evidence.utterances == TRUTH


def test_many_lines_that_are_no_records_are_one_remark(tmp_path: Path) -> None:
    folder = conversation(tmp_path).write()
    log = folder / "log.jsonl"
    log.write_bytes(b"?\n?\n?\n" + log.read_bytes())
    assert read_evidence(folder).remarks == ("3 lines of log.jsonl are not records, and were left out: the first is 1",)


def test_a_recording_cut_short(tmp_path: Path) -> None:
    folder = conversation(tmp_path).write()
    wav = folder / "audio.wav"
    wav.write_bytes(wav.read_bytes()[: 44 + RATE * 4 * 3 + 3])
    evidence = read_evidence(folder)
    assert evidence.remarks == (
        "audio.wav is cut short: its header tells of 512000 bytes of audio, 96003 are there",
        "the recording ends 13.00 s before the call does",
    )
    assert (evidence.recorded_ms, evidence.duration_ms) == (3000, 16_000)
    assert evidence.utterances == (Utterance("app", 400, 2000), Utterance("caller", 2600, 3000))


def test_a_header_out_of_date(tmp_path: Path) -> None:
    folder = conversation(tmp_path).write()
    wav = folder / "audio.wav"
    content = wav.read_bytes()
    wav.write_bytes(content[:40] + bytes(4) + content[44:])
    evidence = read_evidence(folder)
    assert evidence.remarks == (
        "the header of audio.wav is out of date: it tells of 0 bytes of audio; all 512000 were read",
    )
    assert evidence.utterances == TRUTH


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"RIFF", "ends within its header"), (b"OggS" * 20, "is not a recording of a call")],
)
def test_a_recording_that_is_none(tmp_path: Path, content: bytes, said: str) -> None:
    folder = conversation(tmp_path).write()
    (folder / "audio.wav").write_bytes(content)
    evidence = read_evidence(folder)
    assert said in evidence.remarks[0]
    assert (evidence.samples, evidence.from_caller, evidence.to_caller, evidence.recording) == (None,) * 4
    assert evidence.utterances == ()
    assert evidence.duration_ms == 16_000


def test_a_rate_that_is_none(tmp_path: Path) -> None:
    folder = conversation(tmp_path).write()
    wav = folder / "audio.wav"
    content = wav.read_bytes()
    wav.write_bytes(content[:24] + bytes(4) + content[28:])
    assert read_evidence(folder).remarks == ("audio.wav says 0 samples a second, which is no rate of a call",)


def test_a_recording_without_a_log(tmp_path: Path) -> None:
    folder = conversation(tmp_path / "folder-name").write()
    (folder / "log.jsonl").unlink()
    evidence = read_evidence(folder)
    assert evidence.remarks == ("log.jsonl is missing: only the recording tells of this call",)
    assert evidence.call_id == "folder-name"
    assert evidence.utterances == TRUTH


def test_a_log_without_a_recording_is_whole(tmp_path: Path) -> None:
    folder = conversation(tmp_path).write()
    (folder / "audio.wav").unlink()
    evidence = read_evidence(folder)
    assert evidence.complete
    assert evidence.utterances == ()
    assert evidence.levels.shape == (0, 2)


def test_a_recording_of_nothing_yet(tmp_path: Path) -> None:
    evidence = read_evidence(CallFolder(tmp_path, 0).begin().end().write())
    assert evidence.complete
    assert evidence.utterances == ()
    assert evidence.from_caller == b""


def test_what_the_carrier_could_not_write_is_said(tmp_path: Path) -> None:
    call = conversation(tmp_path).record("evidence_failed", 5000, file="audio.wav", text="No space left on device")
    assert read_evidence(call.write()).remarks == ("the carrier could not write audio.wav: No space left on device",)


def test_a_newer_schema_is_said(tmp_path: Path) -> None:
    folder = conversation(tmp_path).write()
    log = folder / "log.jsonl"
    log.write_text(log.read_text(encoding="utf-8").replace('"schema": 1', '"schema": 2'), encoding="utf-8")
    assert "newer version" in read_evidence(folder).remarks[0]


def test_no_evidence_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no evidence of a call"):
        read_evidence(tmp_path / "nowhere")


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 20)), max_size=12), st.sampled_from([8000, 16000]))
def test_utterances_are_what_the_speech_gate_finds(runs: list[tuple[bool, int]], rate: int) -> None:
    size = rate // 50
    loud = [is_loud for is_loud, count in runs for _ in range(count)]
    samples = np.zeros((len(loud) * size, 2), np.int16)
    samples[:, 0] = np.repeat([3000 if is_loud else 30 for is_loud in loud], size)
    evidence = CallEvidence(Path(), (), "c", rate, samples, True, ())
    gate = SpeechGate()
    expected: list[tuple[int, int]] = []
    for number, is_loud in enumerate(loud):
        frame = samples[number * size : (number + 1) * size, 0].tobytes()
        assert rms_dbfs(frame) == pytest.approx(evidence.levels[number, 0])
        was = gate.sounding
        if gate.feed(frame) and is_loud:
            # It opens at the second loud frame.
            start = expected[-1][0] if was else (number - 1) * 20
            expected[-1 if was else len(expected) :] = [(start, (number + 1) * 20)]
    assert [(utterance.start_ms, utterance.end_ms) for utterance in evidence.utterances] == expected


def test_levels_are_measured_piece_by_piece(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 85_000).begin().caller_speaks(81_000, 2000).end()
    evidence = read_evidence(call.write())
    assert evidence.levels.shape == (4250, 2)
    assert evidence.utterances == (Utterance("caller", 81_000, 83_000),)
