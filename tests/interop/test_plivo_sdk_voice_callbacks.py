"""Every callback of whole calls: signed, complete, true, in order. The checks themselves are in `sdk_voice`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from plivo.utils import validate_v3_signature
from tests.carrier.talker import Talker
from tests.carrier.test_bad_input import deaf_app
from tests.carrier.world import Socket, until
from tests.interop.sdk_voice import MAIN, REQUIRED, SUB, SdkVoice, sdk_voice

from bothway.audio.word_tones import encode
from bothway.carrier.callee import Callee, human, voicemail
from bothway.carrier.config import Account
from bothway.core.profile import DOCUMENTED, LIVE, Profile
from bothway.wire.signature import upgrade_candidates

pytestmark = pytest.mark.virtual_time

PLAIN = ""
TANGLED = "?tag=b&tag=a&blank=&text=a%20b%2Bc&Tag=Z#ct=1500&rt=9000&rc=2&rp=ct,rt"
"""A query with a list, a blank, escapes and capitals, and a delivery policy."""

BESIDE = {"interim", "transcribed", "conference record", "music", "redirect"}
"""What has its own time."""

VERBS = """
<Response>
 <GetDigits action='URL/digitsQUERY' method='METHOD' redirect='false' numDigits='2' timeout='20'/>
 <GetInput action='URL/inputQUERY' method='METHOD' redirect='false' inputType='speech' executionTimeout='20'
   interimSpeechResultsCallback='URL/interimQUERY' interimSpeechResultsCallbackMethod='METHOD'/>
 <Record action='URL/record-actionQUERY' method='METHOD' redirect='false' callbackUrl='URL/recordedQUERY'
   callbackMethod='METHOD' maxLength='3' timeout='9' fileFormat='wav' transcriptionType='auto'
   transcriptionUrl='URL/transcribedQUERY' transcriptionMethod='METHOD'/>
 <Stream statusCallbackUrl='URL/statusQUERY' statusCallbackMethod='METHOD' keepCallAlive='true'
   bidirectional='true'>STREAM</Stream>
 <Dial action='URL/dial-actionQUERY' method='METHOD' redirect='false' callbackUrl='URL/dialQUERY'
   callbackMethod='METHOD' digitsMatch='7' dialMusic='URL/musicQUERY' timeLimit='8'>
  <Number>15550101</Number></Dial>
 <Conference action='URL/conference-actionQUERY' method='METHOD' redirect='false' callbackUrl='URL/conferenceQUERY'
   callbackMethod='METHOD' record='true' recordWhenAlone='true' recordFileFormat='wav' digitsMatch='8' floorEvent='true'
   hangupOnStar='true'>room</Conference>
 <Redirect method='METHOD'>URL/redirectQUERY</Redirect>
</Response>
"""


def written(v: SdkVoice, document: str, method: str, query: str) -> str:
    """A document with the app's URLs in it."""
    for name, value in (("METHOD", method), ("QUERY", query.replace("&", "&amp;")), ("STREAM", v.w.streams.url)):
        document = document.replace(name, value)
    return document.strip()


async def plays(socket: Socket) -> None:
    await socket.until("media")
    await socket.play(b"\x11" * 160 * 5)
    await socket.send(event="checkpoint", name="said")
    await socket.until("playedStream")
    await socket.play(b"\x11" * 160 * 50)
    await socket.send(event="clearAudio")
    await socket.until("clearedAudio")


@pytest.mark.parametrize(
    ("account", "method", "query", "profile"),
    [
        (MAIN, "POST", PLAIN, DOCUMENTED),
        (MAIN, "GET", TANGLED, DOCUMENTED),
        (SUB, "POST", TANGLED, DOCUMENTED),
        (SUB, "GET", PLAIN, DOCUMENTED),
        (MAIN, "POST", TANGLED, LIVE),
        (SUB, "GET", TANGLED, LIVE),
    ],
    ids=[
        "main POST",
        "main GET tangled",
        "sub POST tangled",
        "sub GET",
        "live main POST tangled",
        "live sub GET tangled",
    ],
)
async def test_what_a_document_tells(
    tmp_path: Path, account: Account, method: str, query: str, profile: Profile
) -> None:
    people = Callee("1555*", human("hello", ring=1))
    async with sdk_voice(tmp_path, people, behaviour=plays, profile=profile) as v:
        v.pages(
            answer=written(v, VERBS, method, query),
            redirect="<Response><Hangup/></Response>",
            music="<Response><Wait length='1'/></Response>",
        )
        urls = {f"{name}_url": f"{v.url}/{name}{query}" for name in ("answer", "hangup")}
        methods = {"answer_method": method, "hangup_method": method}
        caller, v.asks = Talker(), account
        _, call = v.w.place(v.w.site.pages["/answer"], caller=caller, account=account.auth_id, **urls, **methods)
        await until(lambda: caller.heard)
        for key in "42":
            caller.press(key)
        digits = await v.until_asked("digits")
        assert digits["Digits"] == "42"
        caller.say(encode("good morning", 8000))
        said = await v.until_asked("input")
        assert (said["InputType"], said["Speech"], said["Digits"]) == ("speech", "good morning", "")
        caller.say(encode("this is a message", 8000))
        recorded = await v.until_asked("record-action")
        assert 2.9 <= int(recorded["RecordingDurationMs"]) / 1000 <= 3.1
        began, ended, lasted = (int(recorded[f"Recording{name}Ms"]) for name in ("Start", "End", "Duration"))
        assert ended - began == lasted
        (also,) = v.told("recorded")
        assert {name: also[name] for name in REQUIRED["recorded"] - {"CallStatus"} if name[:6] == "Record"} == {
            name: recorded[name] for name in REQUIRED["recorded"] if name[:6] == "Record"
        }
        words = await v.until_asked("transcribed")
        assert (words["recording_id"], words["error"]) == (recorded["RecordingID"], "")
        assert "message" in words["transcription"]
        await v.until_asked("dial connected")
        caller.press("7")
        dialled = await v.until_asked("dial-action")
        assert (dialled["DialStatus"], dialled["DialRingStatus"]) == ("completed", "true")
        assert dialled["DialALegUUID"] == call.call_id
        await v.until_asked("conference enter")
        caller.press("8")
        caller.say(encode("i have the floor", 8000))
        await v.until_asked("conference floor")
        await asyncio.sleep(2)
        caller.press("*")
        await v.w.over(caller)
        await v.until_asked("hangup", call.call_id)
        await v.until_asked("conference record")
        kinds = v.kinds(call.call_id)
        stream = ["status started", "status stopped"]
        if profile is LIVE:
            stream = ["status StartStream", "status PlayedStream", "status ClearedAudio", "status StopStream"]
        assert [kind for kind in kinds if kind not in BESIDE] == [
            "answer", "digits", "input", "recorded", "record-action", *stream,
            "dial answer", "dial connected", "dial digits", "dial hangup", "dial-action",
            "conference enter", "conference digits", "conference floor", "conference exit", "conference-action",
            "hangup",
        ]  # fmt: skip
        assert kinds.count("redirect") == 1, "the document does not wait for what its action answers"
        assert {request.method for request in v.w.site.requests if request.path != "/music"} == {method}
        assert {told["ParentAuthID"] for told in v.told("hangup")} == {account.auth_id}
        assert v.told("dial digits")[0]["DialDigitsPressedBy"] == "ALeg"
        assert v.told("interim")
        for request in v.w.site.requests:
            assert "#" not in request.url
        check_upgrade(v, account)
    assert set(v.seen) == DOCUMENT_KINDS | STREAM_KINDS[profile.name]


def check_upgrade(v: SdkVoice, account: Account) -> None:
    """The SDK takes the signature of the stream's upgrade, as a GET of its URL with http."""
    (socket,) = v.w.streams.sockets
    headers = {name.lower(): value for name, value in socket.headers.items()}
    url = next(url for url in upgrade_candidates(v.w.streams.url) if url.startswith("http://"))
    for header, token in (("v3", account.auth_token), ("ma-v3", MAIN.auth_token)):
        nonce = headers["x-plivo-signature-v3-nonce"]
        assert validate_v3_signature("GET", url, nonce, token, headers[f"x-plivo-signature-{header}"])


REST = """
<Response><Wait length='20'/>
 <Conference callbackUrl='URL/conferenceQUERY' callbackMethod='METHOD'>other room</Conference></Response>
"""


@pytest.mark.parametrize(
    ("account", "method", "query"),
    [(MAIN, "POST", PLAIN), (MAIN, "GET", TANGLED), (SUB, "POST", TANGLED), (SUB, "GET", PLAIN)],
    ids=["main POST", "main GET tangled", "sub POST tangled", "sub GET"],
)
async def test_what_a_request_tells(tmp_path: Path, account: Account, method: str, query: str) -> None:
    async with sdk_voice(tmp_path, Callee("1555*", voicemail(ring=2)), behaviour=plays) as v:
        sdk, v.asks = v.client(account) if account is SUB else v.sdk, account
        v.w.site.pages["/answer"] = b"HTTP/1.1 500 Sorry\r\nContent-Length: 0\r\n\r\n"
        v.pages(fallback=written(v, REST, method, query), transfer=written(v, REST, method, query).replace("20", "1"))
        kinds = ("ring", "answer", "fallback", "machine_detection", "hangup")
        paths = {"machine_detection": "machine"}
        given: dict[str, Any] = {f"{kind}_url": f"{v.url}/{paths.get(kind, kind)}{query}" for kind in kinds}
        given |= {f"{kind}_method": method for kind in kinds}
        call_id = await v.create(client=sdk, machine_detection="true", **given)
        await v.until_asked("fallback")
        spawned = await sdk(
            "calls.send_digits", call_id, "1", callback_url=f"{v.url}/result{query}", callback_method=method
        )
        assert spawned.message == "async api spawned"
        recording = await sdk(
            "calls.record", call_id, file_format="wav", time_limit=4, callback_url=f"{v.url}/recorded{query}",
            callback_method=method, transcription_type="auto", transcription_url=f"{v.url}/transcribed{query}",
            transcription_method=method,
        )  # fmt: skip
        stream = await sdk(
            "calls.start_stream", call_id, v.w.streams.url, bidirectional=True,
            status_callback_url=f"{v.url}/status{query}", status_callback_method=method,
        )  # fmt: skip
        recorded = await v.until_asked("recorded")
        assert recorded["RecordingID"] == recording.recording_id
        assert 3.9 <= int(recorded["RecordingDurationMs"]) / 1000 <= 4.1
        await v.until_asked("transcribed")
        assert (await v.until_asked("status stopped"))["StreamID"] == stream.stream_id
        await v.until_asked("machine")
        await sdk("calls.transfer", call_id, legs="aleg", aleg_url=f"{v.url}/transfer{query}", aleg_method=method)
        entered = await v.until_asked("conference enter")
        begun = await sdk(
            "conferences.record", "other room", file_format="wav", callback_url=f"{v.url}/conference-recorded{query}",
            callback_method=method,
        )  # fmt: skip
        await asyncio.sleep(2)
        assert await sdk("conferences.record_stop", "other room") is None
        told = await v.until_asked("conference-recorded")
        assert (told["RecordingID"], told["ConferenceName"]) == (begun.recording_id, "other room")
        assert told["ConferenceUUID"] == entered["ConferenceUUID"]
        await sdk("calls.hangup", call_id)
        await v.over(call_id)
        await v.until_asked("hangup")
        assert {request.method for request in v.w.site.requests} == {method}
        shown = [kind for kind in v.kinds(call_id) if kind not in ("recorded", "transcribed", "machine")]
        assert [kind for kind in shown if not kind.startswith("status")] == [
            "ring", "answer", "fallback", "transfer", "conference enter", "conference exit", "hangup",
        ]  # fmt: skip
    assert set(v.seen) == REQUEST_KINDS


DOCUMENT_KINDS = {
    "answer", "digits", "input", "interim", "recorded", "record-action", "transcribed", "dial answer",
    "dial connected", "dial digits", "dial hangup", "dial-action", "conference enter", "conference digits",
    "conference floor", "conference record", "conference exit", "conference-action", "redirect", "hangup",
}  # fmt: skip
STREAM_KINDS = {
    DOCUMENTED.name: {"status started", "status stopped"},
    LIVE.name: {"status StartStream", "status StopStream", "status PlayedStream", "status ClearedAudio"},
}
REQUEST_KINDS = {"ring", "answer", "fallback", "machine", "result", "recorded", "transcribed", "transfer", "hangup"} | {
    "status started", "status stopped", "conference enter", "conference exit", "conference-recorded",
}  # fmt: skip
FAILED_KINDS = {"status failed", "status DroppedStream", "status DegradedStream"}


def test_every_kind_of_the_table_is_told_in_one_of_these_tests() -> None:
    tested = DOCUMENT_KINDS.union(*STREAM_KINDS.values()) | REQUEST_KINDS | FAILED_KINDS
    assert tested == set(REQUIRED)


async def silent(socket: Socket) -> None:
    await socket.until("start")
    socket.connection.transport.abort()


@pytest.mark.parametrize("profile", [DOCUMENTED, LIVE], ids=lambda profile: profile.name)
async def test_a_stream_that_fails_is_told_of(tmp_path: Path, profile: Profile) -> None:
    async with sdk_voice(tmp_path, behaviour=silent, profile=profile) as v:
        for number, url in enumerate((v.w.streams.url, "ws://127.0.0.1:1/nobody"), 1):
            document = v.w.stream(url=url, statusCallbackUrl=v.url + "/status")
            await v.w.call(document)
            kinds = v.kinds()
            failed = "status DroppedStream" if profile is LIVE else "status failed"
            assert kinds.count(failed) == number
            assert kinds.count("hangup") == number


async def test_a_stream_that_is_read_too_slowly_is_told_of(tmp_path: Path) -> None:
    async with deaf_app() as (url, silent), sdk_voice(tmp_path, profile=LIVE) as v:
        await v.w.call(v.w.stream(url=url, statusCallbackUrl=v.url + "/status"))
        silent.set()
        assert [kind for kind in v.kinds() if kind.startswith("status")] == [
            "status StartStream", *["status DegradedStream"] * 3, "status DroppedStream",
        ]  # fmt: skip
