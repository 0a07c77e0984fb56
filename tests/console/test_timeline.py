from __future__ import annotations

from pathlib import Path

import pytest
from tests.console.call_folder import CallFolder, conversation

from bothway.console.evidence import read_evidence
from bothway.console.timeline import (
    MAX_TEXT,
    Clear,
    Line,
    Turn,
    clock,
    duration,
    latencies,
    lines,
    printable,
    render,
    totals,
    waits,
)


def told(call: CallFolder) -> list[Line]:
    return lines(read_evidence(call.write()))


def texts(call: CallFolder) -> list[str]:
    return [line.text for line in told(call)]


# Latencies.


def test_the_latencies_of_a_conversation(tmp_path: Path) -> None:
    found = latencies(read_evidence(conversation(tmp_path).write()))
    assert found.answer_to_stream == pytest.approx(120)
    assert found.answer_to_audible == 400
    assert found.turns == (Turn(4000, 4640), Turn(10_400, 11_300))
    assert [turn.ms for turn in found.turns] == [640, 900]
    assert (found.turn_p50, found.turn_max) == (770, 900)
    assert found.clears == (Clear(9400, 2600, 0),)
    assert waits(found) == [
        ("answer → stream open", "120 ms"),
        ("answer → app audible", "400 ms"),
        ("caller stops → app audible", "p50 770 ms, max 900 ms, in 2 turns"),
        ("clear → silence", "0 ms, in one clear"),
    ]


def test_nothing_is_known_of_an_empty_call(tmp_path: Path) -> None:
    found = latencies(read_evidence(CallFolder(tmp_path, 0).record("call", 0).write()))
    assert (
        found.answer_to_stream is found.answer_to_audible is found.turn_p50 is found.turn_max is found.clear_max is None
    )
    assert waits(found) == []


def test_a_turn_needs_an_app_that_was_silent(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 6000).begin().app_speaks(500, 3000).caller_speaks(1000, 1000).app_speaks(4500, 500)
    assert latencies(read_evidence(call.end().write())).turns == ()


def test_a_turn_that_the_caller_takes_back_is_none(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 6000).begin().caller_speaks(500, 1000).caller_speaks(2000, 1000).app_speaks(3700, 500)
    assert latencies(read_evidence(call.end().write())).turns == (Turn(3000, 3700),)


def test_a_turn_nobody_took_is_none(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 6000).begin().app_speaks(500, 1000).caller_speaks(2000, 1000)
    assert latencies(read_evidence(call.end().write())).turns == ()


def test_a_prompt_is_no_reply_of_the_app(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 6000).begin().app_speaks(200, 600, told=False)
    call.caller_speaks(1200, 800).app_speaks(2500, 500, told=False).app_speaks(4000, 800)
    found = latencies(read_evidence(call.end().write()))
    assert found.answer_to_audible == 4000
    assert found.turns == (Turn(2000, 4000),)


def test_a_prompt_that_runs_on_into_the_app(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 6000).begin().app_speaks(200, 900, told=False).app_speaks(1200, 800)
    assert latencies(read_evidence(call.end().write())).answer_to_audible == 1200


@pytest.mark.parametrize("overrun_ms", [0, 20, 60, 500])
def test_a_clear_that_comes_late_is_measured(tmp_path: Path, overrun_ms: int) -> None:
    call = CallFolder(tmp_path, 8000).begin().app_speaks(1000, 1000 + overrun_ms)
    call.record("cleared", 2000, ms=2000.0).app_speaks(4000, 1000)
    found = latencies(read_evidence(call.end().write()))
    assert found.clears == (Clear(2000, 2000, overrun_ms),)


def test_new_audio_is_not_the_old(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 8000).begin().app_speaks(1000, 1000).record("cleared", 2000, ms=2000.0)
    call.app_speaks(2060, 1000)
    found = latencies(read_evidence(call.end().write()))
    assert found.clears == (Clear(2000, 2000, 0),)


def test_a_clear_with_new_audio_at_once_cannot_be_measured(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 8000).begin().app_speaks(1000, 1000).record("cleared", 2000, ms=2000.0)
    call.app_speaks(2000, 1000)
    found = latencies(read_evidence(call.end().write()))
    assert found.clears == (Clear(2000, 2000, None),)
    assert found.clear_max is None


def test_new_audio_may_show_by_its_checkpoint_alone(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 8000).begin().app_speaks(1000, 3000).record("cleared", 2000, ms=2000.0)
    call.record("checkpoint", 2000, 2.5001, name="new", accepted=True)
    assert latencies(read_evidence(call.end().write())).clears == (Clear(2000, 2000, None),)


def test_an_empty_clear_is_not_measured(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 4000).begin().record("cleared", 2000, ms=0.0)
    assert latencies(read_evidence(call.end().write())).clears == ()


def test_several_clears_and_one_turn(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 9000).begin().app_speaks(1000, 1040).record("cleared", 2000, ms=2000.0)
    call.caller_speaks(3000, 400).app_speaks(4000, 1000).record("cleared", 5000, ms=1000.0)
    rows = dict(waits(latencies(read_evidence(call.end().write()))))
    assert rows["caller stops → app audible"] == "600 ms, in one turn"
    assert rows["clear → silence"] == "max 40 ms, in 2 clears"


# The timeline.


def test_a_conversation_in_lines(tmp_path: Path) -> None:
    shown = [(clock(line.start_ms), line.who, line.text) for line in told(conversation(tmp_path))]
    assert shown == [
        ("-00:00.500", "caller", "calls 15550100 from 15550001"),
        ("-00:00.300", "carrier", "got the answer document: 181 bytes, after 180 ms"),
        ("00:00.000", "carrier", "answers the call"),
        ("00:00.000", "carrier", "runs <Stream>"),
        ("00:00.000", "carrier", "opens the stream s1"),
        ("00:00.120", "carrier", "the stream is open, in audio/x-l16;rate=8000"),
        (
            "00:00.300",
            "app",
            "makes a mistake (unknown-event): 'mark' is no event of this protocol: checkpoint is meant",
        ),
        ("00:00.400", "app", "sends audio"),
        ("00:00.400", "app", "sets the checkpoint “greeting”"),
        ("00:00.400", "app", "speaks 1.6 s"),
        ("00:02.000", "carrier", "has played all up to the checkpoint “greeting”"),
        ("00:02.600", "caller", "speaks 1.4 s"),
        ("00:04.640", "app", "sends audio"),
        ("00:04.640", "app", "sets the checkpoint “offer”"),
        ("00:04.640", "app", "speaks 1.8 s"),
        ("00:06.440", "carrier", "has played all up to the checkpoint “offer”"),
        ("00:06.900", "caller", "presses 4"),
        ("00:07.100", "caller", "presses 2"),
        ("00:07.300", "caller", "presses #"),
        ("00:08.000", "app", "sends audio"),
        ("00:08.000", "app", "speaks 1.4 s"),
        ("00:09.100", "caller", "speaks 1.3 s"),
        ("00:09.400", "app", "clears: 2.6 s of audio dropped"),
        ("00:11.300", "app", "sends audio"),
        ("00:11.300", "app", "speaks 2.4 s"),
        ("00:13.800", "app", "sends the digits 1"),
        ("00:16.000", "carrier", "the stream ended: the call ended"),
        ("00:16.000", "caller", "ends the call: 4000 Normal Hangup, by Caller"),
        ("00:16.000", "carrier", "hangup callback Hangup delivered, answered with 200"),
    ]


@pytest.mark.parametrize(
    ("event", "facts", "text", "trouble"),
    [
        ("document_failed", {"kind": "answer", "text": "no route"}, "got no answer document: no route", True),
        ("remark", {"text": "line 3, <Play>: x"}, "remarks: line 3, <Play>: x", True),
        ("stream_refused", {"text": "two at once"}, "opens no stream: two at once", True),
        ("stream_degraded", {"percent": 30}, "reads too slowly: 30 % of its buffer is full", True),
        ("stream_ended", {"text": "the app left", "failed": True}, "the stream failed: the app left", True),
        ("refused", {"ms": 900.0, "queued_ms": 60_000.0}, "refuses 900 ms of the app's audio: 1 min 0 s wait already",
         True),
        ("mistakes", {"code": "not-json", "count": 7}, "made the mistake not-json 7 times in all", True),
        ("prompt_failed", {"text": "404"}, "could not play a prompt: 404", True),
        ("dropped", {"ms": 1500.0}, "drops 1.5 s of audio not yet played, with the stream", False),
        ("evidence_failed", {"file": "audio.wav", "text": "full"}, "could not write audio.wav: full", True),
        ("checkpoint", {"name": "a", "accepted": False}, "sets the checkpoint “a”, which is refused", True),
        ("cleared", {"ms": 0.0}, "clears: nothing was waiting", False),
        ("callback", {"kind": "stream", "what": "StartStream", "error": "gone"},
         "stream callback StartStream failed: gone", True),
        ("callback", {"error": "dropped"}, "callback failed: dropped", True),
        ("callback", {"kind": "hangup", "what": "", "status": 500},
         "hangup callback delivered, answered with 500", True),
        ("early_media", {}, "lets the caller hear before it answers", False),
        ("speech", {"text": "a table", "confidence": 0.9}, "says, as it was understood: a table", False),
        ("dreamt", {"of": [1, "sheep"]}, "dreamt: of=[1, 'sheep']", False),
        ("call", {}, "calls nobody from no number", False),
        ("ended", {"code": 5010, "name": "Internal Error", "source": "Error", "detail": "a fault", "ran_to_end": False},
         "ends the call: 5010 Internal Error, by Error (a fault)", True),
    ],
)  # fmt: skip
def test_each_event_in_words(tmp_path: Path, event: str, facts: dict[str, object], text: str, trouble: bool) -> None:
    call = CallFolder(tmp_path, 1000).record("answered", 0).record(event, 500, None, **facts)
    line = told(call)[-1]
    assert (line.start_ms, line.text, line.trouble) == (500, text, trouble)


def test_the_audio_of_one_utterance_is_one_line(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 9000).begin().app_speaks(1000, 2000)
    for t_ms in (1500, 2200, 3100, 3380):
        call.record("play", t_ms, ms=20.0)
    call.app_speaks(6000, 500).record("play", 6300, ms=200.0)
    sent = [(line.start_ms, line.text) for line in told(call.end()) if line.kind == "play"]
    assert sent == [
        (1000, "sends audio, whose queue runs dry 4 times"),
        (6000, "sends audio, whose queue runs dry once"),
    ]


def test_audio_without_a_recording_goes_by_its_length(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 5000).begin()
    call.record("play", 1000, ms=500.0).record("play", 1780, ms=20.0).record("play", 2100, ms=20.0)
    sent = [(line.start_ms, line.text) for line in told(call.end()) if line.kind == "play"]
    assert sent == [(1000, "sends audio, whose queue runs dry once"), (2100, "sends audio")]


def test_audio_after_a_clear_is_another_line(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 3000).begin().record("play", 1000, ms=900.0)
    call.record("cleared", 1100, ms=800.0).record("play", 1120, ms=400.0)
    kinds = [line.kind for line in told(call.end()) if line.kind in ("play", "cleared")]
    assert kinds == ["play", "cleared", "play"]


def test_checkpoints_set_at_once_are_one_line(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 3000).begin()
    for name in "abc":
        call.record("checkpoint", 1000, name=name, accepted=True)
    call.record("checkpoint", 1000, name="d", accepted=False).record("checkpoint", 1020, name="e", accepted=True)
    call.record("cleared", 1020, 1.5201, ms=10.0).record("checkpoint", 1020, 1.5202, name="f", accepted=True)
    assert [text for text in texts(call.end()) if "checkpoint" in text] == [
        "sets 3 checkpoints, “a” to “c”",
        "sets the checkpoint “d”, which is refused",
        "sets the checkpoint “e”",
        "sets the checkpoint “f”",
    ]


def test_a_call_that_was_never_answered_counts_from_its_coming(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 0).record("call", 0, 0.0).record("document_failed", 0, 1.25, kind="answer", text="x")
    assert [line.start_ms for line in told(call)] == [0, 1250]


def test_totals(tmp_path: Path) -> None:
    call = conversation(tmp_path).record("mistakes", 16_000, 16.45, code="unknown-event", count=5)
    assert totals(read_evidence(call.write())) == {
        "late frames": 2,
        "caller frames missing": 1,
        "caller frames dropped": 0,
        "chunks refused": 0,
        "mistakes": 5,
    }


# Words.


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "00:00.000"), (-0.2, "00:00.000"), (-412.4, "-00:00.412"), (61_020, "01:01.020"), (5_999_999.6, "100:00.000")],
)
def test_clock(ms: float, text: str) -> None:
    assert clock(ms) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"),
        (999.4, "999 ms"),
        (999.5, "1.0 s"),
        (59_940, "59.9 s"),
        (59_960, "1 min 0 s"),
        (119_700, "2 min 0 s"),
    ],
)
def test_duration(ms: float, text: str) -> None:
    assert duration(ms) == text


def test_what_is_not_printable_is_escaped() -> None:
    assert printable("a\x1b[2Jb\n\u202ec é 日") == "a\\x1b[2Jb\\n\\u202ec é 日"
    assert printable("x" * 2000) == "x" * (MAX_TEXT - 1) + "…"


# The whole.


def test_render(tmp_path: Path) -> None:
    text = render(read_evidence(conversation(tmp_path).write()), width=100)
    assert text.startswith("call 7c4e1f9a-0b57-4d1c-9a55-3f0d3a1c2b11\n2026-03-01T10:00:00.000+00:00, inbound, audio")
    assert "\n 00:02.600  caller   speaks 1.4 s\n" in text
    assert "\ncaller stops → app audible   p50 770 ms, max 900 ms, in 2 turns\n" in text
    assert "\napp sent                     9.6 s of audio, 2.6 s of it never played\n" in text
    assert "late frames 2 · caller frames missing 1" in text
    assert "the call ran to its end, 16.0 s: 4000 Normal Hangup, by Caller\n" in text
    assert f"recording: {tmp_path / 'audio.wav'}" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines()[:-1])) <= 100


def test_the_strip_shows_who_was_sounding_when(tmp_path: Path) -> None:
    rows = render(read_evidence(conversation(tmp_path).write()), width=189).split("\n\n")[1].splitlines()
    assert rows[0] == "one mark is 100 ms"
    caller, app = rows[1].removeprefix("caller   "), rows[2].removeprefix("app      ")
    assert len(caller) == len(app) == 160
    sounding = [index for index, mark in enumerate(caller) if mark != "·"]
    assert sounding == [*range(26, 40), *range(91, 104)]
    assert [index for index, mark in enumerate(app) if mark != "·"][:16] == list(range(4, 20))
    assert rows[3].split() == [f"00:{second:02}" for second in range(16)]


def test_a_long_strip_has_coarser_marks(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 150_000).begin().end()
    rows = render(read_evidence(call.write()), width=72).split("\n\n")[1].splitlines()
    assert rows[0] == "one mark is 1.0 s"
    assert len(rows) == 1 + 3 * 3


def test_colour_and_narrow_terminals(tmp_path: Path) -> None:
    call = conversation(tmp_path).record("remark", 5000, text="\x1b]0;owned\x07" + "word " * 60)
    text = render(read_evidence(call.write()), width=10, colour=True)
    assert "\x1b[36mcaller" in text
    assert "\x1b]0;" not in text
    assert "\\x1b]0;owned" in text
    plain = render(read_evidence(call.write()), width=10)
    assert max(len(line) for line in plain.splitlines() if "recording" not in line) <= 72


def test_damage_is_said(tmp_path: Path) -> None:
    call = CallFolder(tmp_path, 400).begin()
    folder = call.write()
    (folder / "audio.wav").unlink()
    text = render(read_evidence(folder))
    assert "\n! log.jsonl does not tell how the call ended" in text
    assert "one mark is" not in text
    assert "recording:" not in text
