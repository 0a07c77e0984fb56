"""`<Record>` and recordings over REST through whole calls, their files compared sample by sample."""

from __future__ import annotations

import errno
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
from tests.carrier.recorded import BEEP_FRAMES, Noisy, filed, noise_file, nothing_left, place_of, record, told, wav_of
from tests.carrier.talker import Talker, doc, offline
from tests.carrier.world import page, until

from bothway.audio.format import L16_8K, MULAW_8K, AudioFormat
from bothway.carrier import growing_file
from bothway.carrier.callee import Callee, Callees, human, no_answer
from bothway.carrier.config import Config
from bothway.carrier.mp3 import Mp3Worker
from bothway.carrier.store.records import RecordingRecord
from bothway.core.execution import cause
from bothway.runtime.http import FetchPolicy
from bothway.speech.tone_reader import ToneReader

pytestmark = pytest.mark.virtual_time

# The plain verb.


async def test_the_caller_alone_is_recorded_behind_the_beep_sample_by_sample(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        w.site.pages["/action"] = doc("<Speak>thank you</Speak>")
        before = datetime.now(UTC)
        caller = await w.call(doc(record(w, maxLength="2")), caller=Noisy())
        assert isinstance(caller, Noisy)
        params, action = await told(w), (await told(w, "/action"))
        assert action.pop("Digits") == ""
        assert {name: value for name, value in action.items() if name.startswith("Record")} == {
            name: value for name, value in params.items() if name.startswith("Record")
        }
        assert (params["RecordingDuration"], params["RecordingDurationMs"]) == ("2", "2000")
        assert int(params["RecordingEndMs"]) - int(params["RecordingStartMs"]) == 2000
        assert (params["Event"], params["CallUUID"], params["CallStatus"]) == ("Record", caller.call_id, "in-progress")
        stereo = await wav_of(w, params["RecordingID"], 2)
        assert len(stereo) == 16000
        assert not stereo[:, 1].any(), "the caller alone"
        began = place_of(stereo[:, 0], caller.left)
        assert BEEP_FRAMES <= began <= BEEP_FRAMES + 15
        assert caller.right[: BEEP_FRAMES * 160].any()
        assert not caller.right[began * 160 :][:16000].any(), "the beep is over"
        found = await filed(w, params["RecordingID"])
        assert found == RecordingRecord(
            recording_id=params["RecordingID"],
            account=w.carrier.account.auth_id,
            add_time=found.add_time,
            path=f"recordings/{w.carrier.account.auth_id}/{params['RecordingID']}.wav",
            recording_format="wav",
            channels=2,
            size=64044,
            start_ms=int(params["RecordingStartMs"]),
            end_ms=int(params["RecordingEndMs"]),
            duration_ms=2000,
            rounded_duration=60,
            recording_type="normal",
            call_uuid=caller.call_id,
            from_number="15550001",
            to_number="15550002",
            storage_rate=w.carrier.config.rates.recording_month,
        )
        assert before - timedelta(seconds=1) <= datetime.fromtimestamp(found.start_ms / 1000, UTC) <= found.add_time
        assert nothing_left(w)
        assert [dict(event, t_ms=0, at=0) for event in caller.events("recording")] == [
            {"event": "recording", "t_ms": 0, "at": 0, "recording_id": found.recording_id, "ms": 2000,
             "path": found.path, "bytes": 64044}
        ]  # fmt: skip
        w.check_accounted(caller, 4010, "Plivo")


@pytest.mark.usefixtures("both_times")
async def test_the_url_of_a_recording_can_be_fetched_as_it_is_told(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        await w.call(doc(record(w, maxLength="1", playBeep="false")), caller=Noisy())
        params = await told(w)
        assert params["RecordUrl"].startswith(w.carrier.url + "/v1/Account/")
        assert w.carrier._node is not None
        response = await w.carrier._node.http.request(
            "GET", params["RecordUrl"], policy=FetchPolicy(), max_body=1 << 20
        )
        assert response.body == (tmp_path / (await filed(w, params["RecordingID"])).path).read_bytes()


@pytest.mark.parametrize("leg", [L16_8K, MULAW_8K], ids=str)
async def test_a_key_ends_it_where_it_is_pressed(tmp_path: Path, leg: AudioFormat) -> None:
    async with offline(tmp_path) as w:
        caller = Noisy(leg)
        w.place(doc(record(w, finishOnKey="*#", playBeep="false", recordChannelType="mono")), caller=caller)
        await until(lambda: len(caller.heard) >= 30)
        caller.press("5")
        await until(lambda: len(caller.heard) >= 61)
        pressed_at = len(caller.heard)
        caller.press("*")
        caller.press("#")
        await w.over(caller)
        action = await told(w, "/action")
        assert action["Digits"] == "*"
        assert int(action["RecordingDurationMs"]) == pressed_at * 20
        mono = await wav_of(w, action["RecordingID"], 1)
        assert (mono[:, 0] == caller.left[: len(mono)]).all(), "from the answer on"


async def test_silence_ends_it_after_speech_and_at_the_beginning(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Noisy()
        caller.quiet_after = 100
        silence = {"timeout": "2", "finishOnKey": "none", "playBeep": "false"}
        w.site.pages["/action"] = doc(record(w, action=w.site.url + "/second", **silence))
        w.place(doc(record(w, **silence)), caller=caller)
        await until(lambda: len(caller.heard) >= 20)
        caller.press("#")
        await w.over(caller)
        first, second = await told(w, "/action"), await told(w, "/second")
        assert int(first["RecordingDurationMs"]) == 4020, "the frame of the answer, 2 s of noise, 2 s of nothing"
        assert int(second["RecordingDurationMs"]) == 2000
        assert [first["Digits"], second["Digits"]] == ["", ""]


async def test_who_hangs_up_in_the_middle_has_left_a_message_all_the_same(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Noisy()
        w.place(doc(record(w, method="GET", playBeep="false"), "<Speak>never</Speak>"), caller=caller)
        await until(lambda: len(caller.heard) >= 77)
        frames = len(caller.heard)
        caller.hang_up()
        await w.over(caller)
        params = await told(w)
        (request,) = w.site.asked("/action")
        action = request.params
        assert request.method == "GET"
        assert action["Digits"] == ""
        assert action["RecordingDurationMs"] == params["RecordingDurationMs"] == str(frames * 20)
        assert action["CallStatus"] == params["CallStatus"] == "completed"
        stereo = await wav_of(w, params["RecordingID"], 2)
        assert (stereo[:, 0] == caller.left[: frames * 160]).all(), "to the last frame"
        assert nothing_left(w)
        w.check_accounted(caller, 4000, "Caller")


async def test_the_key_is_told_of_a_message_that_is_hung_up_on_before_its_file_is_finished(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Noisy()
        w.place(doc(record(w, playBeep="false")), caller=caller)
        await until(lambda: len(caller.heard) >= 50)
        frames = len(caller.heard)
        caller.press("#")
        caller.hang_up()
        await w.over(caller)
        action = await told(w, "/action")
        assert (action["Digits"], action["RecordingDurationMs"]) == ("#", str(frames * 20))


async def test_a_transfer_ends_it_and_its_action_is_not_asked(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Noisy()
        w.site.pages["/elsewhere"] = doc(record(w, action=w.site.url + "/second", maxLength="1"))
        _, call = w.place(doc(record(w)), caller=caller)
        await until(lambda: len(caller.heard) >= 100)
        call.transfer(w.site.url + "/elsewhere", "POST")
        await w.over(caller)
        first, second = [request.params for request in w.site.asked("/recorded")]
        assert w.site.asked("/action") == []
        assert (await told(w, "/second"))["RecordingID"] == second["RecordingID"] != first["RecordingID"]
        assert second["RecordingDurationMs"] == "1000"
        assert int(first["RecordingDurationMs"]) <= 2000 - BEEP_FRAMES * 20


async def test_nothing_is_recorded_of_a_call_that_ends_in_the_beep(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Noisy()
        w.place(doc(record(w)), caller=caller)
        await until(lambda: len(caller.heard) >= 2)
        caller.hang_up()
        await w.over(caller)
        assert w.site.asked("/action") == w.site.asked("/recorded") == []


async def test_without_an_action_the_next_verb_runs_and_with_a_bad_one_the_call_ends(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        talker = Talker()
        short = {"maxLength": "1", "playBeep": "false"}
        written = record(w, **short).replace(f'action="{w.site.url}/action"', "")
        await w.call(doc(written, "<Speak>next</Speak>"), caller=talker)
        assert talker.words == ["next"]
        caller = await w.call(doc(record(w, action="gopher://x", **short)))
        w.check_accounted(caller, 7022)
        hanging = Noisy()
        w.place(doc(record(w, action="gopher://x", playBeep="false")), caller=hanging)
        await until(lambda: len(hanging.heard) >= 20)
        hanging.hang_up()
        await w.over(hanging)
        assert hanging.events("remark")
        w.check_accounted(hanging, 4000)


async def test_mp3_is_made_of_it_before_anybody_hears(tmp_path: Path) -> None:
    pytest.importorskip("lameenc")
    async with offline(tmp_path) as w:
        there: list[list[str]] = []

        async def answer(request: Any) -> bytes:
            there.append([path.name for path in (tmp_path / "recordings").glob("*/*.mp3")])
            return page(b"")

        w.site.pages["/recorded"] = w.site.pages["/action"] = answer
        caller = await w.call(doc(record(w, fileFormat="mp3", maxLength="3", redirect="false")), caller=Noisy())
        params = await told(w)
        assert there == [[params["RecordingID"] + ".mp3"]] * 2
        assert params["RecordUrl"].partition("?")[0].endswith(f"/{params['RecordingID']}.mp3")
        found = await filed(w, params["RecordingID"])
        content = (tmp_path / found.path).read_bytes()
        assert (found.recording_format, found.size, found.duration_ms) == ("mp3", len(content), 3000)
        assert w.carrier._node is not None
        heard = np.frombuffer(await w.carrier._node.mp3.decode(content, L16_8K), "<i2").astype(float)
        assert abs(len(heard) - 24000) < 4000
        assert heard.std() > 1000
        assert [path.suffix for path in (tmp_path / "recordings").glob("*/*")] == [".mp3"]
        w.check_accounted(caller, 4010)


async def test_an_encoder_that_crashes_leaves_the_wav_file_and_says_so(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        assert w.carrier._node is not None
        recordings = w.carrier._node.recordings
        await recordings._encoder.close()
        recordings._encoder = Mp3Worker(command=(sys.executable, "-c", "import os; os.abort()"))
        caller = await w.call(doc(record(w, fileFormat="mp3", maxLength="1")), caller=Noisy())
        params = await told(w)
        assert len(await wav_of(w, params["RecordingID"], 2)) == 8000
        assert params["RecordUrl"].partition("?")[0].endswith(".wav")
        (kept,) = caller.events("recording_kept_as_wav")
        assert "worker" in str(kept["text"])
        assert nothing_left(w)


async def test_a_full_disk_costs_the_recording_and_not_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, room = growing_file.write_all, [3 * 32_000 + 1000]

    def write_all(file: BinaryIO, content: bytes) -> None:
        if Path(str(file.name)).suffix == ".wav":
            room[0] -= len(content)
            if room[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        real(file, content)

    monkeypatch.setattr(growing_file, "write_all", write_all)
    async with offline(tmp_path) as w:
        w.site.pages["/action"] = doc("<Speak>thank you</Speak>")
        talker = Talker()
        w.place(doc(record(w, playBeep="false", maxLength="10")), caller=talker)
        await w.over(talker)
        (failed,) = talker.events("recording_failed")
        assert "No space" in str(failed["text"])
        assert talker.heard_ms >= 10_000
        assert talker.words == ["thank", "you"]
        params = await told(w)
        assert params["RecordingDurationMs"] == "3000"
        assert len(await wav_of(w, params["RecordingID"], 2)) == 24000
        assert w.metric("bothway_evidence_write_failures_total") == 1
        room[0] = 0
        caller = await w.call(doc(record(w, action=w.site.url + "/second", maxLength="1")))
        second = await told(w, "/second")
        assert (second["RecordUrl"], second["RecordingDurationMs"]) == ("", "0")
        assert [request.params["RecordUrl"] for request in w.site.asked("/recorded")][1:] == [""]
        assert nothing_left(w)
        w.check_accounted(caller, 4010)


async def test_the_end_of_the_call_from_elsewhere_ends_it_too(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Noisy()
        _, call = w.place(doc(record(w, playBeep="false")), caller=caller)
        await until(lambda: len(caller.heard) >= 40)
        call.hangup(cause(4000, "API Request"))
        await w.over(caller)
        assert int((await told(w, "/action"))["RecordingDurationMs"]) == len(caller.heard) * 20
        w.check_accounted(caller, 4000, "API Request")


# The whole call.


@pytest.mark.parametrize("leg", [L16_8K, MULAW_8K], ids=str)
async def test_a_session_has_both_sides_sample_by_sample(tmp_path: Path, leg: AudioFormat) -> None:
    async with offline(tmp_path) as w:
        w.site.pages["/noise.wav"] = noise_file(1.5)
        caller = Noisy(leg)
        session = record(w, recordSession="true", redirect="false")
        await w.call(doc(session, f"<Play>{w.site.url}/noise.wav</Play>", "<Wait length='1'/>"), caller=caller)
        action, params = await told(w, "/action"), await told(w)
        names = ("RecordingDuration", "RecordingDurationMs", "RecordingStartMs", "RecordingEndMs")
        assert [action[name] for name in names] == ["-1"] * 4
        assert action["RecordingID"] == params["RecordingID"]
        assert action["RecordUrl"].partition("?")[0] == params["RecordUrl"].partition("?")[0]
        assert "Digits" not in params
        assert params["CallStatus"] == "completed"
        stereo = await wav_of(w, params["RecordingID"], 2)
        assert params["RecordingDurationMs"] == str(len(stereo) // 8)
        assert len(stereo) == len(caller.heard) * 160, "from the answer to the end"
        assert (stereo[:, 0] == caller.left).all()
        assert (stereo[:, 1] == caller.right).all()
        assert np.abs(stereo[:, 1].astype(int)).max() > 29000
        w.check_accounted(caller, 4010)


@pytest.mark.parametrize("leg", [L16_8K, MULAW_8K], ids=str)
async def test_a_mono_session_is_the_sum_of_both_sides(tmp_path: Path, leg: AudioFormat) -> None:
    async with offline(tmp_path) as w:
        w.site.pages["/noise.wav"] = noise_file(1.5)
        caller = Noisy(leg)
        session = record(w, recordSession="true", redirect="false", recordChannelType="mono", maxLength="1")
        await w.call(doc(session, f"<Play>{w.site.url}/noise.wav</Play>"), caller=caller)
        params = await told(w)
        assert (params["RecordingDurationMs"], params["CallStatus"]) == ("1000", "in-progress")
        mono = (await wav_of(w, params["RecordingID"], 1))[:, 0]
        mixed = np.clip(caller.left.astype(int) + caller.right, -32768, 32767)
        assert (mono == mixed[:8000]).all()
        assert mono.max() == 32767, "it saturates"


async def test_a_session_goes_on_through_a_transfer(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        w.site.pages["/elsewhere"] = doc("<Wait length='2'/>")
        caller = Noisy()
        _, call = w.place(doc(record(w, recordSession="true", redirect="false"), "<Wait length='9'/>"), caller=caller)
        await until(lambda: len(caller.heard) >= 50)
        call.transfer(w.site.url + "/elsewhere", "POST")
        await w.over(caller)
        stereo = await wav_of(w, (await told(w))["RecordingID"], 2)
        assert len(stereo) == len(caller.heard) * 160 >= 140 * 160
        assert (stereo[:, 0] == caller.left).all()


@pytest.mark.parametrize("redirect", ["true", "false"])
async def test_it_begins_when_a_dial_joins_somebody(tmp_path: Path, redirect: str) -> None:
    callees = Callees([Callee("2000", human("hello there", ring=3.0)), Callee("3000", no_answer(ring=1))])
    async with offline(tmp_path, config=Config(callees=callees)) as w:
        caller = Noisy()
        dials = "<Dial><Number>3000</Number></Dial><Dial timeLimit='4'><Number>2000</Number></Dial>"
        w.site.pages["/action"] = doc(dials)
        w.place(doc(record(w, startOnDialAnswer="true", redirect=redirect), dials), caller=caller)
        await w.over(caller)
        (joined,) = caller.events("joined")
        (started,) = caller.events("recording_started")
        assert started["t_ms"] == joined["t_ms"]
        action, params = await told(w, "/action"), await told(w)
        assert (action["RecordingDuration"], action["RecordingID"]) == ("-1", params["RecordingID"])
        stereo = await wav_of(w, params["RecordingID"], 2)
        first = len(caller.heard) - len(stereo) // 160
        assert (stereo[:, 0] == caller.left[first * 160 :]).all()
        assert (stereo[:, 1] == caller.right[first * 160 :]).all()
        words = [word.text for word in ToneReader(L16_8K).feed(stereo[:, 1].tobytes())]
        assert words == ["hello", "there"]
        assert 3900 <= int(params["RecordingDurationMs"]) <= 4100


async def test_nothing_is_recorded_where_no_dial_is_answered(tmp_path: Path) -> None:
    async with offline(tmp_path, config=Config(callees=Callees([Callee("3000", no_answer(ring=1))]))) as w:
        dial = "<Dial><Number>3000</Number></Dial>"
        caller = await w.call(doc(record(w, startOnDialAnswer="true", redirect="false"), dial))
        assert not w.site.asked("/recorded")
        assert not caller.events("recording_started")
        w.check_accounted(caller, 4010)
