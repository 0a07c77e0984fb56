from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plivo import plivoxml

from bothway.errors import UsageError
from bothway.wire.attributes import Attribute
from bothway.wire.callxml import MAX_DIAGNOSTICS, Diagnostic, Document, parse, to_xml
from bothway.wire.verbs import (
    SSML_TAGS,
    VERBS,
    Conference,
    Dial,
    Dtmf,
    GetDigits,
    GetInput,
    Hangup,
    Message,
    MultiPartyCall,
    Number,
    Play,
    PreAnswer,
    Record,
    Redirect,
    Speak,
    Ssml,
    Stream,
    User,
    Verb,
    Wait,
)
from bothway.wire.xmltree import XmlError

URL = "wss://app.example.net/ws"


def read(inner: str) -> Document:
    return parse(f"<Response>{inner}</Response>")


def verb(inner: str) -> Verb:
    (only,) = read(inner).verbs
    return only


def told(inner: str) -> list[str]:
    return [f"{found.element}: {found.text}" for found in read(inner).diagnostics]


# ── whole documents ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_document_of_every_verb() -> None:
    document = parse(
        b"""<?xml version="1.0" encoding="UTF-8"?>
        <Response>
          <PreAnswer><Speak>One moment</Speak><Wait length="2"/></PreAnswer>
          <Speak voice="Polly.Amy" loop="2">Hello</Speak>
          <Play loop="0"> https://a/b.mp3 </Play>
          <DTMF async="false">1w2W#</DTMF>
          <GetDigits action="https://a/d" finishOnKey="none"><Play>https://a/p.wav</Play></GetDigits>
          <GetInput action="https://a/i" inputType="dtmf speech" speechEndTimeout="3"><Speak>Say</Speak></GetInput>
          <Record action="https://a/r" maxLength="30"/>
          <Dial callerId="+1"><Number sendDigits="1">+15550100</Number><User>sip:a@b</User></Dial>
          <Conference muted="true">room</Conference>
          <MultiPartyCall role="Agent">mpc</MultiPartyCall>
          <Message src="1" dst="2&lt;3">hi</Message>
          <Stream bidirectional="true" keepCallAlive="true" contentType="audio/x-mulaw;rate=8000">
            wss://a/ws?x=1&amp;y=2
          </Stream>
          <Hangup schedule="60" reason="busy"/>
          <Redirect method="GET">https://a/next</Redirect>
        </Response>"""
    )
    assert document.diagnostics == ()
    assert document.verbs == (
        PreAnswer((Speak("One moment"), Wait(length=2))),
        Speak("Hello", voice="Polly.Amy", loop=2),
        Play("https://a/b.mp3", loop=0),
        Dtmf("1w2W#", async_=False),
        GetDigits((Play("https://a/p.wav"),), action="https://a/d", finish_on_key=""),
        GetInput((Speak("Say"),), action="https://a/i", input_type="dtmf speech", speech_end_timeout=3),
        Record(action="https://a/r", max_length=30),
        Dial((Number("+15550100", send_digits="1"), User("sip:a@b")), caller_id="+1"),
        Conference("room", muted=True),
        MultiPartyCall("mpc", role="agent"),
        Message("hi", src="1", dst="2<3"),
        Stream("wss://a/ws?x=1&y=2", bidirectional=True, keep_call_alive=True, content_type="audio/x-mulaw;rate=8000"),
        Hangup(schedule=60, reason="busy"),
        Redirect("https://a/next", method="GET"),
    )


@pytest.mark.parametrize("document", ["<Response/>", "<Response> \n</Response>", "<Response><!-- later --></Response>"])
def test_an_empty_response_is_valid(document: str) -> None:
    assert parse(document) == Document(())


@pytest.mark.parametrize(
    ("document", "fault", "line"),
    [
        ("<html><body/></html>", "is HTML, not XML", 1),
        ("<response/>", "has the root <response>; it must be <Response>", 1),
        ("\n<Speak>x</Speak>", "has the root <Speak>; it must be <Response>", 2),
        (
            "<Response>\n<Reject/></Response>",
            'holds no verb of Plivo\'s: <Reject> is unknown: Plivo writes <Hangup reason="rejected"/>',
            2,
        ),
        (
            "<Response><speak>x</speak></Response>",
            "holds no verb of Plivo's: <speak> is unknown: write <Speak>, in that case",
            1,
        ),
        ("<Response>\n<Stream>\n<Play/></Stream></Response>", "puts <Play> into <Stream>, which takes no elements", 3),
        ("<Response><Hangup><Wait/></Hangup></Response>", "puts <Wait> into <Hangup>, which takes no elements", 1),
        (
            "<Response><GetInput><Dial/></GetInput></Response>",
            "puts <Dial> into <GetInput>, which takes only Play, Speak, Wait",
            1,
        ),
        (
            "<Response><Speak><p><Play/></p></Speak></Response>",
            "puts <Play> into <p>, which takes only " + ", ".join(sorted(SSML_TAGS)),
            1,
        ),
        ("<Response><Number>1</Number></Response>", "puts <Number> into <Response>, which takes only verbs", 1),
        ("<Response>\n\n<Dial/></Response>", "has a <Dial> with no <Number> and no <User> in it", 3),
        ("<Response><Dial>+1555</Dial></Response>", "has a <Dial> with no <Number> and no <User> in it", 1),
        ("<Response><Dial><Sip>x</Sip></Dial></Response>", "has a <Dial> with no <Number> and no <User> in it", 1),
        ("<Response><Dial><Number> </Number></Dial></Response>", "has an empty <Number>", 1),
        ("<Response><Dial>\n<User/></Dial></Response>", "has an empty <User>", 2),
    ],
)
def test_documents_that_cannot_be_run(document: str, fault: str, line: int) -> None:
    with pytest.raises(XmlError) as caught:
        parse(document)
    assert (str(caught.value), caught.value.line) == (f"the answer document {fault}", line)


def test_an_unknown_element_beside_a_verb_is_ignored_with_what_was_meant() -> None:
    assert parse("<Response>\n<Say>x</Say>\n<Hangup/></Response>") == Document(
        (Hangup(),), (Diagnostic(2, "Say", "an unknown element, ignored: Plivo's word is <Speak>"),)
    )


@pytest.mark.parametrize("name", ["Say", "Gather", "Connect", "Start", "Pause", "Reject", "Enqueue", "Sms"])
def test_every_verb_of_the_other_dialect_has_its_hint(name: str) -> None:
    (text,) = told(f"<{name}><Stream/></{name}><Hangup/>")
    assert text.startswith(f"{name}: an unknown element, ignored: ")


METADATA = "Plivo passes metadata in the extraHeaders attribute of <Stream>"
TRACK = "Plivo's word is audioTrack, with inbound, outbound or both"


@pytest.mark.parametrize(
    ("inner", "texts"),
    [
        ("<Foo/><Hangup/>", ["Foo: an unknown element, ignored"]),
        ("<break/><Hangup/>", ["break: an unknown element, ignored: it belongs in <Speak>"]),
        ("hello<Hangup/>", ["Response: text directly in <Response> is ignored"]),
        ("<Hangup>now</Hangup>", ["Hangup: text directly in <Hangup> is ignored"]),
        (
            "<Stream><Parameter name='a' value='b'/>wss://a</Stream>",
            [f"Parameter: an unknown element, ignored: {METADATA}"],
        ),
        (
            "<Stream audio_track='both' track='x' secret='x' xmlns:a='b'>wss://a</Stream>",
            [
                "Stream: unknown attribute audio_track, ignored: write audioTrack",
                f"Stream: unknown attribute track, ignored: {TRACK}",
                "Stream: unknown attribute secret, ignored",
            ],
        ),
        (
            "<Stream bidirectional='TRUE'>wss://a</Stream>",
            ['Stream: bidirectional="TRUE": only lower-case true counts, so this is taken as false'],
        ),
        (
            "<Stream noiseCancellationLevel='10' streamTimeout='soon'>wss://a</Stream>",
            [
                'Stream: noiseCancellationLevel="10": allowed is 60 to 100, so 60 is used',
                'Stream: streamTimeout="soon": not a whole number, so 86400 is used',
            ],
        ),
        ("<Play/>", ["Play: the element has no text"]),
        ("<Conference/>", ["Conference: the element has no text, which is the name of the room"]),
        ("<DTMF>1a</DTMF>", ["DTMF: keys are 0-9, * and #, with w and W for pauses"]),
        ("<GetInput/>", ["GetInput: action is required: without it nobody gets the input"]),
        (
            "<MultiPartyCall>x</MultiPartyCall>",
            ["MultiPartyCall: role is required: Agent, Supervisor, Customer or ai-agent"],
        ),
        ("<Message src='1'>x</Message>", ["Message: src and dst are required"]),
        ("<Dial><User>a@b</User></Dial>", ["User: the text of a <User> is a SIP address that begins with sip:"]),
        (
            "<Dial><User sipAuthUsername='a'>sip:a@b</User></Dial>",
            ["User: sipAuthUsername and sipAuthPassword are needed together"],
        ),
        (
            "<Dial><User sipAuthUsername='a' sipAuthPassword='hush'>sip:a@b</User></Dial>",
            ["User: sipAuthPassword has 8 to 128 characters"],
        ),
    ],
)
def test_what_is_survived_is_told(inner: str, texts: list[str]) -> None:
    assert told(inner) == texts


def test_diagnostics_are_bounded_and_cut() -> None:
    document = read("<Foo/>" * 5000 + "<Hangup/>")
    assert len(document.diagnostics) == MAX_DIAGNOSTICS
    (found,) = read(f"<{'F' * 5000} {'x' * 5000}='1'/><Hangup/>").diagnostics
    assert len(found.element) < 70
    assert len(told(f"<Hangup reason='{'x' * 5000}' {'y' * 5000}='1'/>")[1]) < 140


# ── single verbs ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("element", "url", "notes"),
    [
        ("<Stream>wss://a</Stream>", "wss://a", 0),
        ("<Stream>\n  wss://a\n</Stream>", "wss://a", 0),
        ("<Stream url='wss://b'>wss://a</Stream>", "wss://a", 1),
        ("<Stream url='wss://b'>https://a</Stream>", "https://a", 1),
        ("<Stream url=' wss://b '/>", "wss://b", 1),
        ("<Stream url='wss://b'>here</Stream>", "wss://b", 1),
        ("<Stream/>", "", 0),
    ],
)
def test_the_text_of_a_stream_is_its_url_and_the_attribute_only_a_substitute(
    element: str, url: str, notes: int
) -> None:
    stream = verb(element)
    assert isinstance(stream, Stream)
    assert stream.url == url
    assert len(told(element)) == notes


def test_what_fails_a_stream_does_not_fail_its_document() -> None:
    stream = verb("<Stream bidirectional='true' audioTrack='both' statusCallbackMethod='put'>https://a</Stream>")
    assert stream == Stream("https://a", bidirectional=True, audio_track="both", status_callback_method="PUT")
    assert isinstance(stream, Stream)
    assert stream.problem() is not None


def test_a_method_that_the_call_depends_on_is_kept_and_a_callbacks_is_replaced() -> None:
    assert verb("<Redirect method='put'>https://a</Redirect>") == Redirect("https://a", method="PUT")
    assert verb("<Record method='DELETE' callbackMethod='DELETE'/>") == Record(method="DELETE")
    assert verb("<Redirect method='get'>https://a</Redirect>") == Redirect("https://a", method="GET")


def test_ssml_is_kept_and_unknown_markup_gives_only_its_words() -> None:
    inner = (
        "<Speak voice='Polly.Amy'> Hi <!-- -->you <break time='1s' strength='weak'/> and <prosody rate='slow'>so "
        "<s>on</s></prosody><cont> more</cont> <amazon:effect name='x'>low <w role='v'>red</w></amazon:effect> end "
        "</Speak>"
    )
    assert verb(inner) == Speak(
        "Hi you ",
        (
            Ssml("break", (("time", "1s"), ("strength", "weak")), tail=" and "),
            Ssml("prosody", (("rate", "slow"),), "so ", (Ssml("s", text="on"),), " more low "),
            Ssml("w", (("role", "v"),), "red", tail=" end"),
        ),
        voice="Polly.Amy",
    )
    assert told(inner) == ["amazon:effect: an unknown element, ignored; its words are kept"]


# ── printing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stream_is_printed_as_the_official_sdks_print_it() -> None:
    stream = Stream("wss://test.url", bidirectional=True, extra_headers="a=1,b=2", keep_call_alive=True)
    assert to_xml([stream]) == (
        '<Response><Stream bidirectional="true" extraHeaders="a=1,b=2" keepCallAlive="true">wss://test.url</Stream>'
        "</Response>"
    )
    every = {
        "bidirectional": True,
        "audioTrack": "inbound",
        "streamTimeout": 60,
        "statusCallbackUrl": "https://a/?b&c",
        "statusCallbackMethod": "GET",
        "contentType": "audio/x-l16;rate=16000",
        "extraHeaders": "a=1",
        "keepCallAlive": True,
    }
    official = plivoxml.ResponseElement().add(plivoxml.StreamElement("wss://a/?b=1&c=<", **every)).to_string(False)
    ours = Stream(
        "wss://a/?b=1&c=<",
        bidirectional=True,
        stream_timeout=60,
        status_callback_url="https://a/?b&c",
        status_callback_method="GET",
        content_type="audio/x-l16;rate=16000",
        extra_headers="a=1",
        keep_call_alive=True,
    )
    assert to_xml([ours]) == official.replace(' audioTrack="inbound"', "")


def test_pretty_printing_gives_each_element_a_line_and_leaves_text_alone() -> None:
    verbs: list[Verb] = [GetDigits((Speak("a\nb", (Ssml("break"),)), Wait())), Hangup()]
    assert to_xml(verbs, pretty=True) == (
        "<Response>\n  <GetDigits>\n    <Speak>a\nb<break/></Speak>\n    <Wait/>\n  </GetDigits>\n  <Hangup/>\n"
        "</Response>"
    )
    assert to_xml([], pretty=True) == to_xml([]) == "<Response/>"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (Stream(""), "has no URL"),
        (Stream(URL, bidirectional=True, audio_track="both"), "is bidirectional"),
        (Stream(URL, noise_cancellation_level=5), "noise_cancellation_level of a Stream .* allowed is 60 to 100"),
        (Redirect("https://a", method="PUT"), "method of a Redirect cannot be written: only GET and POST"),
        (Record(max_length=cast("int", "30")), "max_length of a Record cannot be written: wrong type"),
        (Speak("a", voice=cast("str", None)), "voice of a Speak cannot be written: wrong type"),
        (Dial(()), "no <Number>"),
        (Dial((Number(""),)), "an empty <Number>"),
        (GetDigits(cast("Any", (Hangup(),))), "a Hangup cannot stand there; allowed is Play, Speak, Wait"),
        (Number("1"), "a Number cannot stand there"),
        ("<Hangup/>", "a str cannot stand there"),
        (Speak("a\0b"), r"cannot carry the character U\+0000"),
        (Speak("", (Ssml("voice"),)), 'not "voice"'),
        (Speak("", (Ssml("p", (("a b", "c"),)),)), '"a b" is no name'),
        (Speak("", (Ssml("p", (("a", "b"), ("a", "c"))),)), "an attribute stands twice in a <p>"),
        (Speak("x" * 110_000), r"would be 1100\d\d bytes long"),
    ],
)
def test_what_would_not_be_understood_is_not_printed(bad: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        to_xml([bad])


# ── properties ───────────────────────────────────────────────────────────────────────────────────────────────────────

WORDS = [
    "true", "false", "auto", "none", "mp3", "wav", "stereo", "mono", "dtmf", "speech", "dtmf speech", "hybrid",
    "manual", "full", "compact", "default", "phone_call", "agent", "ai-agent", "rejected", "busy", "voice", "whatsapp",
    "GET", "POST", "", "#", "*", "0", "1", "2", "5", "7", "60", "77", "300", "28800", "duration=300", "https://a/?b&c",
]  # fmt: skip
CHARACTERS = st.characters(
    exclude_categories=["Cs", "Cc"], include_characters="\t\n\r", exclude_characters="\ufffe\uffff"
)
TEXT = st.text(CHARACTERS, max_size=20)
BODY = TEXT.map(str.strip)
NONEMPTY = BODY.filter(bool)


def values(attribute: Attribute) -> st.SearchStrategy[object]:
    """Values that the attribute reads without complaint."""
    good = [value for value, note in map(attribute.read, WORDS) if note is None]
    free = attribute.read("any ☃ text")[1] is None
    return st.sampled_from(good) | TEXT if free else st.sampled_from(good)


def ssml() -> st.SearchStrategy[tuple[Ssml, ...]]:
    """One or two elements, nested up to three deep."""
    names = st.sampled_from(["time", "xml:lang", "interpret-as"])
    pairs = st.dictionaries(names, TEXT, max_size=2).map(lambda found: tuple(found.items()))
    inner: st.SearchStrategy[tuple[Ssml, ...]] = st.just(())
    for _ in range(3):
        element = st.builds(Ssml, st.sampled_from(sorted(SSML_TAGS)), pairs, TEXT, inner, TEXT)
        inner = st.just(()) | st.lists(element, min_size=1, max_size=2).map(tuple)
    return st.lists(element, min_size=1, max_size=2).map(tuple)


def speaks(attributes: dict[str, st.SearchStrategy[object]]) -> st.SearchStrategy[Speak]:
    def trim(speak: Speak) -> Speak:
        last = replace(speak.ssml[-1], tail=speak.ssml[-1].tail.rstrip())
        return replace(speak, text=speak.text.lstrip(), ssml=(*speak.ssml[:-1], last))

    marked = st.builds(Speak, TEXT, ssml(), **attributes).map(trim)
    return st.builds(Speak, BODY, **attributes) | marked


def instances(kind: type[Any]) -> st.SearchStrategy[Any]:
    attributes = {
        entry.name: values(entry.metadata["attribute"]) | st.just(entry.default)
        for entry in fields(kind)
        if "attribute" in entry.metadata
    }
    if kind is Speak:
        return speaks(attributes)
    if kind is Stream:
        attributes |= {
            "audio_track": st.sampled_from(["inbound", "outbound", "both"]),
            "content_type": st.sampled_from([None, "audio/x-l16;rate=16000", "audio/x-mulaw; rate=8000"]),
            "url": st.sampled_from([URL, "ws://127.0.0.1:8000/?a=1&b=%20<"]),
        }
        return st.builds(kind, **attributes).filter(lambda stream: stream.problem() is None)
    for entry in fields(kind):
        if entry.metadata.get("role") == "text":
            attributes[entry.name] = NONEMPTY
        if entry.metadata.get("role") == "children":
            fewest = 1 if entry.default is MISSING else 0
            inner = st.one_of([instances(child) for child in entry.metadata["allowed"]])
            attributes[entry.name] = st.lists(inner, min_size=fewest, max_size=3).map(tuple)
    return st.builds(kind, **attributes)


@pytest.mark.parametrize("kind", VERBS)
def test_what_is_printed_is_read_back(kind: type[Any]) -> None:
    @given(st.lists(instances(kind), max_size=2).map(tuple), st.booleans())
    def holds(verbs: tuple[Verb, ...], pretty: bool) -> None:
        assert parse(to_xml(verbs, pretty=pretty)).verbs == verbs

    holds()


@pytest.mark.parametrize("kind", [*VERBS, Number, User])
def test_a_name_in_the_document_belongs_to_one_field(kind: type[Any]) -> None:
    names = [entry.metadata["attribute"].named(entry.name) for entry in fields(kind) if "attribute" in entry.metadata]
    assert len(set(names)) == len(names)


PARTS = [
    "<Response>", "</Response>", "<Response/>", "<Stream bidirectional='TRUE'>", "</Stream>", "wss://a", "<Speak>",
    "</Speak>", "<p>", "</p>", "<cont>", "</cont>", "<Dial>", "</Dial>", "<Number>", "</Number>", "<Hangup/>", "<Say/>",
    "<Play loop='-1'>", "</Play>", "<!DOCTYPE a>", "<?xml version='1.0' encoding='utf-16'?>", "<?xml version='1.0'?>",
    "&amp;", "&", "<!--", "-->", "<![CDATA[", "]]>", " ", "\n", "\ufeff", "\0", "é", "<GetInput>", "</GetInput>",
]  # fmt: skip
RESPONSES = st.lists(st.sampled_from(PARTS), max_size=12).map("".join)
WRAPPED = RESPONSES.map(lambda inner: f"<Response>{inner}</Response>")
ENCODINGS = st.sampled_from(["utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])


@given(st.one_of(st.binary(), st.text(), RESPONSES, WRAPPED, st.builds(str.encode, RESPONSES | WRAPPED, ENCODINGS)))
def test_anything_gives_a_document_or_the_one_error(document: bytes | str) -> None:
    outcome: Document | XmlError
    try:
        outcome = parse(document)
    except XmlError as error:
        outcome = error
    assert isinstance(outcome, Document) or (outcome.line >= 1 and str(outcome).startswith("the answer document "))


@given(st.binary(max_size=30), st.integers(0, 400), st.integers(0, 40))
def test_a_damaged_document_gives_a_document_or_the_one_error(junk: bytes, at: int, cut: int) -> None:
    sound = to_xml([GetDigits((Speak("hé", (Ssml("p"),)),)), Dial((User("sip:a@b"),)), Stream(URL)]).encode("utf-16")
    try:
        parse(sound[:at] + junk + sound[at + cut :])
    except XmlError:
        pass


# ── the official SDK as oracle ───────────────────────────────────────────────────────────────────────────────────────

LINK = "https://example.com/x?a=1&b=2"

OFFICIAL: list[tuple[type[Any], str, dict[str, object]]] = [
    (Speak, "SpeakElement", {"voice": "Polly.Joanna", "language": "en-GB", "loop": 0}),
    (Play, "PlayElement", {"loop": 3}),
    (Dtmf, "DTMFElement", {"async_": False}),
    (Wait, "WaitElement", {"length": 9, "silence": True, "min_silence": 300, "beep": True}),
    (
        GetDigits,
        "GetDigitsElement",
        {
            "action": LINK, "method": "GET", "timeout": 7, "digit_timeout": 4, "finish_on_key": "*", "num_digits": 4,
            "retries": 3, "redirect": False, "play_beep": True, "valid_digits": "12", "invalid_digits_sound": LINK,
            "log": False,
        },
    ),
    (
        GetInput,
        "GetInputElement",
        {
            "action": LINK, "method": "GET", "input_type": "dtmf speech", "execution_timeout": 20,
            "digit_end_timeout": 3, "speech_end_timeout": 4, "finish_on_key": "1", "num_digits": 3,
            "speech_model": "phone_call", "hints": "yes,no", "language": "en-GB",
            "interim_speech_results_callback": LINK, "interim_speech_results_callback_method": "GET", "log": False,
            "redirect": False, "profanity_filter": True,
        },
    ),
    (
        Record,
        "RecordElement",
        {
            "action": LINK, "method": "GET", "file_format": "wav", "redirect": False, "timeout": 4, "max_length": 9,
            "play_beep": False, "finish_on_key": "*", "record_session": True, "start_on_dial_answer": True,
            "transcription_type": "hybrid", "transcription_url": LINK, "transcription_method": "GET",
            "transcription_report_type": "compact", "callback_url": LINK, "callback_method": "GET",
            "record_channel_type": "mono",
        },
    ),
    (
        Number,
        "NumberElement",
        {"send_digits": "1w2", "send_on_preanswer": True, "send_digits_mode": "inband"},
    ),
    (User, "UserElement", {"send_digits": "1", "send_on_preanswer": True, "sip_headers": "a=b"}),
    (
        Dial,
        "DialElement",
        {
            "action": LINK, "method": "GET", "hangup_on_star": True, "time_limit": 60, "timeout": 20,
            "caller_id": "+15550100", "caller_name": "Ann", "confirm_sound": LINK, "confirm_timeout": 5,
            "confirm_key": "3", "dial_music": "real", "callback_url": LINK, "callback_method": "GET",
            "redirect": False, "digits_match": "1,2", "digits_match_b_leg": "3", "sip_headers": "a=b",
        },
    ),
    (Hangup, "HangupElement", {"reason": "busy", "schedule": 9}),
    (Redirect, "RedirectElement", {"method": "GET"}),
    (
        Message,
        "MessageElement",
        {"src": "1", "dst": "2<3", "type": "mms", "callback_url": LINK, "callback_method": "GET"},
    ),
    (PreAnswer, "PreAnswerElement", {}),
    (
        Conference,
        "ConferenceElement",
        {
            "muted": True, "enter_sound": "beep:1", "exit_sound": LINK, "start_conference_on_enter": False,
            "end_conference_on_exit": True, "stay_alone": False, "wait_sound": LINK, "max_members": 4, "record": True,
            "record_file_format": "wav", "time_limit": 60, "hangup_on_star": True, "action": LINK, "method": "GET",
            "callback_url": LINK, "callback_method": "GET", "digits_match": "1", "floor_event": True,
            "redirect": False, "relay_dtmf": False, "send_digits": "9", "record_when_alone": True,
            "transcription_type": "auto", "transcription_url": LINK, "transcription_method": "GET",
        },
    ),
    (
        MultiPartyCall,
        "MultiPartyCallElement",
        {
            "role": "supervisor", "max_duration": 600, "max_participants": 3, "record_min_member_count": 2,
            "wait_music_url": LINK, "wait_music_method": "POST", "wait_time": 9, "agent_hold_music_url": LINK,
            "agent_hold_music_method": "POST", "customer_hold_music_url": LINK, "customer_hold_music_method": "POST",
            "record": True, "record_participant_track": True, "record_file_format": "wav",
            "recording_callback_url": LINK, "recording_callback_method": "GET",
            "status_callback_events": "participant-speak-events", "status_callback_url": LINK,
            "status_callback_method": "GET", "stay_alone": True, "coach_mode": False, "mute": True, "hold": True,
            "start_mpc_on_enter": False, "end_mpc_on_exit": True, "enter_sound": "beep:2",
            "enter_sound_method": "POST", "exit_sound": "none", "exit_sound_method": "POST",
            "on_exit_action_url": LINK, "on_exit_action_method": "GET", "relay_dtmf_inputs": True,
            "start_recording_audio": LINK, "start_recording_audio_method": "POST", "stop_recording_audio": LINK,
            "stop_recording_audio_method": "POST", "transcript": True, "transcription_url": LINK,
        },
    ),
    (
        Stream,
        "StreamElement",
        {
            "bidirectional": True, "audioTrack": "both", "streamTimeout": 300, "statusCallbackUrl": LINK,
            "statusCallbackMethod": "GET", "contentType": "audio/x-l16;rate=16000", "extraHeaders": "a=1,b=2",
            "keepCallAlive": True,
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "official", "attributes"), OFFICIAL, ids=[name for _, name, _ in OFFICIAL])
def test_every_attribute_of_the_official_sdk_is_read(
    kind: type[Any], official: str, attributes: dict[str, object]
) -> None:
    maker = getattr(plivoxml, official)
    parameters = set(inspect.signature(maker.__init__).parameters) - {"self"}
    body = {"content": "sip:abc@example.com" if kind is User else "123"} if "content" in parameters else {}
    assert parameters - set(body) == set(attributes)
    element = maker(**body, **attributes)
    nested = kind in (Number, User)
    if kind is Dial:
        element.add(plivoxml.NumberElement("+15550100"))
    top = plivoxml.DialElement().add(element) if nested else element
    document = parse(plivoxml.ResponseElement().add(top).to_string())
    assert document.diagnostics == ()
    (found,) = document.verbs
    if nested:
        assert isinstance(found, Dial)
        (found,) = cast("Any", found.children)
    assert type(found) is kind
    for name, value in attributes.items():
        field_name = re.sub(r"[A-Z]", lambda capital: "_" + capital[0].lower(), name)
        assert getattr(found, field_name) == value
        assert value != next(entry.default for entry in fields(kind) if entry.name == field_name)


def test_nesting_of_the_official_sdk_is_read() -> None:
    prompt = [plivoxml.SpeakElement("a"), plivoxml.PlayElement("https://a"), plivoxml.WaitElement(2)]
    early = [
        *prompt,
        plivoxml.GetDigitsElement(),
        plivoxml.RedirectElement("https://a"),
        plivoxml.MessageElement("a", "1", "2"),
        plivoxml.DTMFElement("1"),
    ]
    response = plivoxml.ResponseElement()
    for parent, children in (
        (plivoxml.GetDigitsElement(), prompt),
        (plivoxml.GetInputElement(LINK), prompt),
        (plivoxml.PreAnswerElement(), early),
    ):
        assert set(parent._nestable) == {child._name for child in children}
        for child in children:
            parent.add(child)
        response.add(parent)
    ours = (Speak("a"), Play("https://a"), Wait(length=2))
    document = parse(response.to_string())
    assert document.diagnostics == ()
    assert document.verbs == (
        GetDigits(ours),
        GetInput(ours, action=LINK),
        PreAnswer((*ours, GetDigits(), Redirect("https://a"), Message("a", src="1", dst="2"), Dtmf("1"))),
    )


def test_ssml_of_the_official_sdk_is_read() -> None:
    speak = plivoxml.SpeakElement("Hello ", voice="Polly.Joanna")
    speak.add(plivoxml.BreakElement("", strength="strong", time="1s"))
    speak.add(plivoxml.ContElement("and"))
    speak.add(plivoxml.EmphasisElement("now", level="strong"))
    speak.add(plivoxml.SayAsElement("12", "cardinal", "f"))
    document = parse(plivoxml.ResponseElement().add(speak).to_string(False))
    assert document.diagnostics == ()
    assert document.verbs == (
        Speak(
            "Hello ",
            (
                Ssml("break", (("strength", "strong"), ("time", "1s")), tail=" and "),
                Ssml("emphasis", (("level", "strong"),), "now"),
                Ssml("say-as", (("interpret-as", "cardinal"), ("format", "f")), "12"),
            ),
            voice="Polly.Joanna",
        ),
    )
