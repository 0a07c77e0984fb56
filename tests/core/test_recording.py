from __future__ import annotations

import pytest

from bothway.core.recording import RecordingFacts, recording_params


def test_a_recording_is_told_by_its_id_its_url_and_its_times() -> None:
    facts = RecordingFacts("id", "https://x/id.mp3", 2480, 1_700_000_000_000, 1_700_000_002_480)
    assert recording_params(facts) == {
        "RecordUrl": "https://x/id.mp3",
        "RecordingID": "id",
        "RecordingDuration": "2",
        "RecordingDurationMs": "2480",
        "RecordingStartMs": "1700000000000",
        "RecordingEndMs": "1700000002480",
    }


def test_one_that_is_not_complete_has_no_times_yet() -> None:
    params = recording_params(RecordingFacts("id", "https://x/id.mp3"))
    assert [value for name, value in params.items() if name not in ("RecordUrl", "RecordingID")] == ["-1"] * 4


@pytest.mark.parametrize(("ms", "seconds"), [(0, "0"), (480, "0"), (500, "1"), (1500, "2"), (59_980, "60")])
def test_seconds_are_the_nearest(ms: int, seconds: str) -> None:
    assert recording_params(RecordingFacts("id", "", ms, 0, ms))["RecordingDuration"] == seconds
