"""What is done to a live call: hang up, transfer, record, play, speak, press keys (plivo-protocol.md, 5.5)."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from bothway.carrier.api.calls import explain_id
from bothway.carrier.api.operations import Answer, Operation, Request
from bothway.carrier.api.parameters import ApiError, Flag, HttpUrl, Method, Text
from bothway.carrier.api.recordings import recording_url
from bothway.carrier.api.switch import CallControl, PlayRequest, RecordRequest, SpeakRequest, TransferRequest

__all__ = [
    "MAX_URLS",
    "OPERATIONS",
    "DigitsAnswer",
    "DtmfParameters",
    "PlayAnswer",
    "PlayParameters",
    "RecordParameters",
    "RecordStarted",
    "RecordStop",
    "SpeakAnswer",
    "SpeakParameters",
    "TransferParameters",
    "TransferredAnswer",
    "Urls",
    "live_call",
    "record_request",
    "split_urls",
]

MAX_URLS = 100
"""Audio files of one request."""

_RECORDING = re.compile(r"/Recording/([^/?#]+?)(\.[a-z0-9]+)?/?(?:[?#]|$)")
_URL = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://[^\s/?#]+[^\s]*")

Urls = Annotated[
    str, msgspec.Meta(min_length=1, max_length=65_536, extra={"join": ",", "is": "http or https URLs between commas"})
]
"""Audio files, one after another."""

_Legs = Literal["aleg", "bleg", "both"]


class TransferParameters(msgspec.Struct):
    """Which legs go on with which documents."""

    legs: _Legs = "aleg"
    aleg_url: HttpUrl | None = None
    aleg_method: Method = "POST"
    bleg_url: HttpUrl | None = None
    bleg_method: Method = "POST"


class RecordParameters(msgspec.Struct):
    """How it is recorded. `callback_url` is told when the recording is there."""

    time_limit: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 60
    file_format: Literal["mp3", "wav"] = "mp3"
    record_channel_type: Literal["mono", "stereo"] = "mono"
    transcription_type: Literal["auto", "hybrid"] | None = None
    transcription_url: HttpUrl | None = None
    transcription_method: Method = "POST"
    callback_url: HttpUrl | None = None
    callback_method: Method = "POST"


class RecordStop(msgspec.Struct):
    """Which recording stops: that of the URL, or all."""

    url: Text | None = None
    URL: Text | None = None


class PlayParameters(msgspec.Struct):
    """What is played to whom."""

    urls: Urls
    length: Annotated[int, msgspec.Meta(ge=1, le=86_400)] | None = None
    legs: _Legs = "aleg"
    loop: Flag = False
    mix: Flag = True


class SpeakParameters(msgspec.Struct):
    """What is said to whom."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=3_000)]
    voice: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = "WOMAN"
    language: Annotated[
        str, msgspec.Meta(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8}){0,3}$", extra={"is": "a language, as en-US"})
    ] = "en-US"
    legs: _Legs = "aleg"
    loop: Flag = False
    mix: Flag = True


class DtmfParameters(msgspec.Struct):
    """Which keys are pressed towards whom."""

    digits: Annotated[str, msgspec.Meta(pattern="^[0-9*#wW]{1,256}$", extra={"is": "keys 0-9 * #, w and W that wait"})]
    leg: Literal["aleg", "bleg"] = "aleg"


class TransferredAnswer(msgspec.Struct):
    """The call goes on with another document."""

    api_id: str
    message: str = "call transferred"


class RecordStarted(msgspec.Struct):
    """It is being recorded; the recording will be at `url`."""

    api_id: str
    message: str
    recording_id: str
    url: str


class PlayAnswer(msgspec.Struct):
    """It is being played."""

    api_id: str
    message: str = "play started"


class SpeakAnswer(msgspec.Struct):
    """It is being said."""

    api_id: str
    message: str = "speak started"


class DigitsAnswer(msgspec.Struct):
    """The keys are being pressed."""

    api_id: str
    message: str = "digits sent"


def live_call(request: Request) -> CallControl:
    """The live call in the path.

    Raises:
        ApiError: There is none, or it is another account's (404).
    """
    call_id = request.path["call_uuid"]
    explain_id("call id", call_id)
    call = request.resources.switch.live_call(call_id)
    if call is None or not request.may_act_on(call.account):
        raise ApiError(404, "call not found, or it has ended")
    return call


def split_urls(text: str) -> tuple[str, ...]:
    """The audio files that `Urls` name.

    Raises:
        ApiError: They are too many, or one is no URL (400).
    """
    urls = tuple(one.strip() for one in text.split(",") if one.strip())
    if not 0 < len(urls) <= MAX_URLS or any(not _URL.fullmatch(url) or len(url) > 2048 for url in urls):
        raise ApiError(400, f"urls is not 1 to {MAX_URLS} http or https URLs between commas")
    return urls


def record_request(wanted: RecordParameters) -> RecordRequest:
    """What the switch is asked."""
    return RecordRequest(
        time_limit=wanted.time_limit,
        file_format=wanted.file_format,
        channels=wanted.record_channel_type,
        callback_url=wanted.callback_url,
        callback_method=wanted.callback_method,
        transcription=wanted.transcription_type,
        transcription_url=wanted.transcription_url,
        transcription_method=wanted.transcription_method,
    )


async def _hang_up(request: Request, _: None) -> Answer:
    live_call(request).hangup()
    return Answer(204)


async def _hang_up_all(request: Request, _: None) -> Answer:
    for call in request.resources.switch.live_calls():
        if request.may_act_on(call.account):
            call.hangup()
    return Answer(204)


async def _cancel(request: Request, _: None) -> Answer:
    request_uuid = request.path["request_uuid"]
    explain_id("request id", request_uuid)
    record = await request.resources.store.calls.get(request_uuid)
    owned = record is not None and request.owns(record)
    if not owned or not request.resources.switch.cancel_request(request_uuid):
        raise ApiError(404, "request not found, or its call is up or has ended")
    return Answer(204)


async def _transfer(request: Request, wanted: TransferParameters) -> Answer:
    call = live_call(request)
    for leg, url in (("aleg", wanted.aleg_url), ("bleg", wanted.bleg_url)):
        if wanted.legs in (leg, "both") and url is None:
            raise ApiError(400, f"{leg}_url is required: legs is {wanted.legs}")
    call.transfer(
        TransferRequest(
            legs=wanted.legs,
            aleg_url=wanted.aleg_url if wanted.legs != "bleg" else None,
            aleg_method=wanted.aleg_method,
            bleg_url=wanted.bleg_url if wanted.legs != "aleg" else None,
            bleg_method=wanted.bleg_method,
        )
    )
    return Answer(202, TransferredAnswer(request.api_id))


async def _record(request: Request, wanted: RecordParameters) -> Answer:
    recording_id = await live_call(request).start_recording(record_request(wanted))
    url = recording_url(request, recording_id, wanted.file_format)
    return Answer(202, RecordStarted(request.api_id, "call recording started", recording_id, url))


async def _stop_recording(request: Request, wanted: RecordStop) -> Answer:
    call, url, recording_id = live_call(request), wanted.url or wanted.URL, None
    if url:
        named = _RECORDING.search(url)
        if named is None:
            raise ApiError(400, "url is not the URL of a recording, as the start of one answers it")
        recording_id = named[1]
    if not call.stop_recording(recording_id) and recording_id is not None:
        raise ApiError(404, "this call has no recording with this URL under way")
    return Answer(204)


async def _play(request: Request, wanted: PlayParameters) -> Answer:
    call = live_call(request)
    call.play(
        PlayRequest(
            urls=split_urls(wanted.urls), length=wanted.length, legs=wanted.legs, loop=wanted.loop, mix=wanted.mix
        )
    )
    return Answer(202, PlayAnswer(request.api_id))


async def _stop_playing(request: Request, _: None) -> Answer:
    live_call(request).stop_playing()
    return Answer(204)


async def _speak(request: Request, wanted: SpeakParameters) -> Answer:
    live_call(request).speak(
        SpeakRequest(
            text=wanted.text,
            voice=wanted.voice,
            language=wanted.language,
            legs=wanted.legs,
            loop=wanted.loop,
            mix=wanted.mix,
        )
    )
    return Answer(202, SpeakAnswer(request.api_id))


async def _stop_speaking(request: Request, _: None) -> Answer:
    live_call(request).stop_speaking()
    return Answer(204)


async def _press(request: Request, wanted: DtmfParameters) -> Answer:
    live_call(request).send_digits(wanted.digits, wanted.leg)
    return Answer(202, DigitsAnswer(request.api_id))


_CALL = "Call/{call_uuid}/"
_ACTION = (404, 409)

OPERATIONS = (
    Operation("DELETE", "Call/", _hang_up_all, "Hang up all calls", {204: ()}, errors=()),
    Operation("DELETE", _CALL, _hang_up, "Hang up a call", {204: ()}),
    Operation("DELETE", "Request/{request_uuid}/", _cancel, "Cancel a call that waits or rings", {204: ()}),
    Operation(
        "POST", _CALL, _transfer, "Transfer a call", {202: (TransferredAnswer,)}, TransferParameters, errors=_ACTION
    ),
    Operation(
        "POST", _CALL + "Record/", _record, "Record a call", {202: (RecordStarted,)}, RecordParameters,
        voice=False, errors=_ACTION,
    ),
    Operation("DELETE", _CALL + "Record/", _stop_recording, "Stop recording a call", {204: ()}, RecordStop),
    Operation("POST", _CALL + "Play/", _play, "Play into a call", {202: (PlayAnswer,)}, PlayParameters, errors=_ACTION),
    Operation("DELETE", _CALL + "Play/", _stop_playing, "Stop playing into a call", {204: ()}),
    Operation(
        "POST", _CALL + "Speak/", _speak, "Speak into a call", {202: (SpeakAnswer,)}, SpeakParameters, errors=_ACTION
    ),
    Operation("DELETE", _CALL + "Speak/", _stop_speaking, "Stop speaking into a call", {204: ()}),
    Operation(
        "POST", _CALL + "DTMF/", _press, "Press keys in a call", {202: (DigitsAnswer,)}, DtmfParameters, errors=_ACTION
    ),
)  # fmt: skip
"""The operations on live calls."""
