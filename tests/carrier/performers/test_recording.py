"""Recordings that REST asks for, several at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.carrier.phone import connect
from tests.carrier.recorded import Noisy, filed, noise_file, nothing_left, place_of, record, told, wav_of
from tests.carrier.talker import doc, offline
from tests.carrier.world import until

from bothway.carrier.api.switch import RecordRequest, RefusedError
from bothway.carrier.performers.recording import MOST_RECORDINGS

pytestmark = pytest.mark.virtual_time


async def test_rest_records_both_sides_several_times_over(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        w.site.pages["/noise.wav"] = noise_file(9)
        caller = Noisy()
        _, call = w.place(doc(f"<Play>{w.site.url}/noise.wav</Play>"), caller=caller)
        with pytest.raises(RefusedError):
            await call.recorder.start_by_request(RecordRequest())
        await until(lambda: len(caller.heard) >= 50)
        first = await call.recorder.start_by_request(
            RecordRequest(file_format="wav", channels="stereo", time_limit=2, callback_url=w.site.url + "/first")
        )
        await until(lambda: len(caller.heard) >= 100)
        second = await call.recorder.start_by_request(
            RecordRequest(file_format="wav", callback_url=w.site.url + "/second", callback_method="GET")
        )
        third = await call.recorder.start_by_request(RecordRequest(file_format="wav"))
        await until(lambda: len(caller.heard) >= 200)
        assert call.recorder.stop_by_request(second)
        assert not call.recorder.stop_by_request(second)
        assert not call.recorder.stop_by_request(first), "it was over"
        fourth = await call.recorder.start_by_request(RecordRequest(file_format="wav"))
        await until(lambda: len(caller.heard) >= 300)
        assert call.recorder.stop_by_request(None)
        assert not call.recorder.stop_by_request(None)
        await w.over(caller)
        assert (await told(w, "/first"))["RecordingDurationMs"] == "2000"
        assert w.site.asked("/second")[0].method == "GET"
        stereo = await wav_of(w, first, 2)
        at = place_of(stereo[:, 0], caller.left)
        assert (stereo[:, 1] == caller.right[at * 160 :][:16000]).all()
        mixed = np.clip(caller.left.astype(int) + caller.right, -32768, 32767).astype(np.int16)
        for recording_id, frames in ((second, 100), (third, 200), (fourth, 100)):
            mono = (await wav_of(w, recording_id, 1))[:, 0]
            assert abs(len(mono) // 160 - frames) <= 2
            place_of(mono, mixed)
        assert {(await filed(w, one)).recording_type for one in (first, second, third, fourth)} == {"call"}
        assert nothing_left(w)


async def test_rest_makes_so_many_at_a_time_and_no_more(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller, call = w.place(doc("<Wait length='2'/>", record(w, recordSession="true")))
        await until(lambda: caller.heard)
        for _ in range(MOST_RECORDINGS):
            await call.recorder.start_by_request(RecordRequest(file_format="wav"))
        with pytest.raises(RefusedError, match="10 recordings") as refused:
            await call.recorder.start_by_request(RecordRequest())
        assert refused.value.reason == "conflict"
        await w.over(caller)
        assert [event["text"] for event in caller.events("remark") if "records nothing" in str(event["text"])]
        assert len(caller.events("recording")) == MOST_RECORDINGS
        w.check_accounted(caller, 4010)


async def test_rest_stops_what_a_document_waits_for_by_its_id_alone(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        caller = Noisy()
        _, call = w.place(doc(record(w, playBeep="false")), caller=caller)
        await until(lambda: len(caller.heard) >= 50)
        assert not call.recorder.stop_by_request(None)
        (started,) = caller.events("recording_started")
        frames = len(caller.heard)
        assert call.recorder.stop_by_request(str(started["recording_id"]))
        await w.over(caller)
        assert (await told(w, "/action"))["RecordingDurationMs"] == str(frames * 20)


async def test_a_recording_that_has_begun_is_not_begun_again_by_a_dial(tmp_path: Path) -> None:
    async with offline(tmp_path) as w:
        bob = connect(w, "2000")
        caller, call = w.place(
            doc(record(w, recordSession="true", redirect="false"), "<Dial><Number>2000</Number></Dial>")
        )
        await bob.answers(1)
        await until(lambda: call.far_leg)
        assert call.media is not None
        before = len(call.media._taps)
        assert call.recorder.stop_by_request(None)
        assert (before, len(call.media._taps)) == (1, 0)
        await until(lambda: caller.events("recording"))
        assert not call.recorder._finishing
        caller.hang_up()
        await w.over(caller)
        await w.over(bob)
        assert len(caller.events("recording_started")) == len(caller.events("recording")) == 1


async def test_a_recording_for_which_nobody_was_dialled_comes_to_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with offline(tmp_path) as w:
        caller = await w.call(doc(record(w, startOnDialAnswer="true", redirect="false"), "<Wait/>"))
        assert caller.events("recording_started") == caller.events("recording") == []
        w.check_accounted(caller, 4010)
    assert not [line for line in caplog.records if line.name.startswith("bothway")]
