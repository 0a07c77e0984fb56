"""`bothway call`, against `examples/echo.py` as `bothway serve` runs it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.cli.processes import ACCOUNT, APPS, CARRIERS, ECHO, Command, channels, event, log, samples, script
from tests.speech_data import speech

from bothway.audio.g711 import l16_to_mulaw, mulaw_to_l16
from bothway.carrier.scripted_caller import CallResult, Outcome
from bothway.cli.call import evidence_folder, show
from bothway.errors import UsageError
from bothway.wire.leg import Ended

TRIES = 3
"""A constant delay is about the machinery. On a machine that is too busy to send a frame every 20 ms the delay grows,
which the log says: such a run is tried again."""

FOR_EVER = "steps: [{wait: 60s}]\n"


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The answer URL of the echo."""
    with Command("serve", ECHO, "--http", ":0", cwd=tmp_path_factory.mktemp("echo"), environment=APPS) as app:
        yield f"{app.ready()['url']}/answer"


def was_late(out: Path) -> bool:
    return any(record["slips"] or record["gaps"] for record in log(out) if record["event"] == "media")


def delay_between(left: npt.NDArray[np.int16], right: npt.NDArray[np.int16]) -> int:
    """By how many samples `right` comes after `left`."""
    size = 2 * len(left)
    a, b = np.fft.rfft(left.astype(float), size), np.fft.rfft(right.astype(float), size)
    return int(np.argmax(np.fft.irfft(b * a.conj(), size)[: len(left)]))


def test_the_echo_comes_back_at_a_constant_delay(echo: str, tmp_path: Path) -> None:
    greeting = speech("caller_greeting_8k.wav")
    legs = ["pcmu", "l16-16000"]
    for number in range(TRIES):
        calls = {}
        for leg in legs:  # at once, to save time
            out = tmp_path / f"{leg}-{number}"
            options = ("--answer-url", echo, "--wav", greeting, "--leg", leg, "--out", out)
            calls[out] = Command("call", *options, cwd=tmp_path, environment=CARRIERS)
        for out, call in calls.items():
            with call:
                assert call.end() == 0
            assert (out / "timeline.html").is_file()
            assert "the call ran to its end" in call.stdout
            assert str(out / "timeline.html") in call.stdout
        if not any(was_late(out) for out in calls):
            break

    pcmu, l16 = calls
    said, heard, rate = channels(pcmu)
    delay = delay_between(said, heard)
    assert rate == 8000
    assert 0.1 * rate <= delay <= 0.4 * rate
    spoken = np.frombuffer(mulaw_to_l16(l16_to_mulaw(samples(greeting).tobytes())), "<i2")
    assert np.array_equal(said[: len(spoken)], spoken)
    assert np.array_equal(said[:-delay], heard[delay:])
    assert not heard[:delay].any()

    said, heard, rate = channels(l16)
    delay = delay_between(said, heard)
    assert rate == 16000
    assert 0.1 * rate <= delay <= 0.4 * rate
    assert np.corrcoef(said[:-delay], heard[delay:])[0, 1] >= 0.99


def test_json_is_one_object_and_nothing_else(echo: str, tmp_path: Path) -> None:
    steps = script(tmp_path, "steps: [{wait: 300ms}]\n")
    options = ("--answer-url", echo, "--script", steps, "--json")
    with Command("call", *options, cwd=tmp_path, environment=CARRIERS) as call:
        assert call.end() == 0
    facts = json.loads(call.stdout)
    assert (facts["ok"], facts["code"], facts["source"], facts["script_ok"]) == (True, 4000, "Caller", True)
    assert facts["hint"] is None
    (own,) = (tmp_path / "bothway-out").iterdir()
    for key, name in (("log", "log.jsonl"), ("recording", "audio.wav"), ("page", "timeline.html")):
        assert tmp_path / facts[key] == own / name
        assert (own / name).is_file()
    assert not (tmp_path / ".bothway").exists()


def test_without_recordings_there_is_no_recording(echo: str, tmp_path: Path) -> None:
    steps = script(tmp_path, "steps: [{wait: 100ms}]\n")
    options = ("--answer-url", echo, "--script", steps, "--out", "out", "--no-recordings", "--json")
    with Command("call", *options, cwd=tmp_path, environment=CARRIERS) as call:
        assert call.end() == 0
    assert json.loads(call.stdout)["recording"] is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["log.jsonl", "timeline.html"]


def test_a_dead_answer_url_is_a_failure(tmp_path: Path) -> None:
    options = ("--answer-url", "http://127.0.0.1:1/answer", "--say", "hi", "--json", "--out", "out")
    with Command("call", *options, cwd=tmp_path, environment=CARRIERS) as call:
        assert call.end() == 1
    facts = json.loads(call.stdout)
    assert (facts["ok"], facts["code"], facts["recording"]) == (False, 7011, None)
    assert "could not be connected to" in facts["detail"]


def test_a_dead_carrier_is_a_failure(tmp_path: Path) -> None:
    options = ("--carrier", "http://127.0.0.1:1", "--to", "15550100", "--say", "hi", "--json")
    with Command("call", *options, cwd=tmp_path, environment=CARRIERS) as call:
        assert call.end() == 1
    facts = json.loads(call.stdout)
    assert not facts["ok"]
    assert "cannot be connected to" in facts["detail"]
    assert facts["detail"] in call.stderr
    assert not list((tmp_path / "bothway-out").iterdir())


def test_an_app_that_dies_in_mid_call_is_a_failure(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Command("serve", ECHO, "--http", ":0", cwd=tmp_path, environment=APPS) as app:
        options = ("--answer-url", f"{app.ready()['url']}/answer", "--script", script(tmp_path, FOR_EVER), "--out", out)
        with Command("call", *options, cwd=tmp_path, environment=CARRIERS) as call:
            call.until(lambda: event(out, "stream_started"))
            app.send(signal.SIGKILL)
            assert call.end() == 1
    assert "failed: " in call.stderr
    assert event(out, "ended")


def test_a_script_that_times_out_is_a_failure(echo: str, tmp_path: Path) -> None:
    steps = script(tmp_path, "steps: [{hear: {until: speech, within: 400ms}}]\n")
    options = ("--answer-url", echo, "--script", steps)
    with Command("call", *options, cwd=tmp_path, environment=CARRIERS) as call:
        assert call.end() == 1
    assert "failed: step 1 of 1 (hear speech within 0.4 s)" in call.stderr


def test_an_app_with_another_account_gives_a_hint(echo: str, tmp_path: Path) -> None:
    other = {"BOTHWAY_AUTH_ID": ACCOUNT["auth_id"], "BOTHWAY_AUTH_TOKEN": "another-token-that-nobody-may-see"}
    for json_option in ([], ["--json"]):
        options = ("--answer-url", echo, "--say", "hi", "--out", "out", "--log-level", "debug", *json_option)
        with Command("call", *options, cwd=tmp_path, environment=other) as call:
            assert call.end() == 1
        said = call.stdout + call.stderr
        assert "BOTHWAY_AUTH_TOKEN" in said
        assert "PLIVO_AUTH_TOKEN" in said
        assert "may-see" not in said
    assert "answered 403" in json.loads(call.stdout)["detail"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_call_that_is_interrupted_hangs_up_and_shows_what_there_was(
    number: signal.Signals, echo: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ("--answer-url", echo, "--script", script(tmp_path, FOR_EVER), "--out", out)
    with Command("call", *options, cwd=tmp_path, environment=CARRIERS) as call:
        call.until(lambda: event(out, "stream_started"))
        time.sleep(0.5)  # of the call
        call.send(number)
        assert call.end() == 130
    assert "ends the call: 4000 Normal Hangup, by Caller" in call.stdout
    assert "failed: the call was interrupted" in call.stderr
    assert "Traceback" not in call.stderr
    assert len(channels(out)[0]) >= 8000 * 0.4
    assert (out / "timeline.html").is_file()


def test_an_interrupted_call_is_told_in_json(echo: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--answer-url", echo, "--script", script(tmp_path, FOR_EVER), "--out", out, "--json")
    with Command("call", *options, cwd=tmp_path, environment=CARRIERS) as call:
        call.until(lambda: event(out, "media"))
        call.send(signal.SIGINT)
        assert call.end() == 130
    facts = json.loads(call.stdout)
    assert (facts["ok"], facts["detail"]) == (False, "the call was interrupted")
    assert facts["call_id"] == log(out)[0]["call_id"]
    assert facts["heard_ms"] >= 1000


# The folder of the evidence.


def test_calls_of_the_same_second_have_folders_of_their_own(tmp_path: Path) -> None:
    folders = {evidence_folder(tmp_path / "out", own=True) for _ in range(3)}
    assert len(folders) == 3
    assert {folder.parent for folder in folders} == {tmp_path / "out"}


def test_an_older_call_does_not_pass_for_this_one(tmp_path: Path) -> None:
    for name in ("log.jsonl", "audio.wav", "timeline.html", "notes.txt"):
        (tmp_path / name).write_text("older")
    assert evidence_folder(tmp_path, own=False) == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for own in (True, False):
        with pytest.raises(UsageError, match=f"the folder {tmp_path}/file cannot be used for the evidence: "):
            evidence_folder(tmp_path / "file", own=own)


# What is shown.


def test_a_call_without_evidence_is_shown_by_its_failure_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(CallResult("", None, Outcome(ok=False, reason="the carrier refused the call"), 0), tmp_path, as_json=False)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "failed: the carrier refused the call\n")
    assert not os.listdir(tmp_path)


def test_a_call_that_did_not_run_to_its_end_says_how_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = Ended(code=7011, name="Error Reaching Answer URL", source="Error", detail="it is gone", ran_to_end=False)
    show(CallResult("id", ended, Outcome(ok=True), 0), tmp_path, as_json=False)
    told = "failed: the call did not run to its end: 7011 Error Reaching Answer URL (it is gone)\n"
    assert capsys.readouterr().err == told
