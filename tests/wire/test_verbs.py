from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from bothway.wire.verbs import VERBS, Number, Speak, Ssml, Stream, User

URL = "wss://app.example.net/ws?call=abc"


@pytest.mark.parametrize("verb", [*VERBS, Number, User, Ssml])
def test_every_class_has_slots_and_a_docstring_of_its_own(verb: type) -> None:
    assert "__slots__" in vars(verb)
    assert verb.__doc__ is not None
    assert not verb.__doc__.startswith(f"{verb.__name__}(")


def test_verbs_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Stream(URL).url = "ws://elsewhere"  # type: ignore[misc]


def test_a_password_is_not_in_the_repr() -> None:
    assert "hunter22" not in repr(User("sip:a@b", sip_auth_username="a", sip_auth_password="hunter22"))


def test_plain_words_leave_the_markup_out() -> None:
    speak = Speak(
        "Hello ",
        (
            Ssml("prosody", (("rate", "slow"),), "dear ", (Ssml("emphasis", text="caller", tail=" of"),), " "),
            Ssml("sub", (("alias", "the world wide web"),), "WWW", tail=","),
            Ssml("break", (("time", "1s"),)),
            Ssml("s", text="welcome", tail="back"),
        ),
    )
    assert speak.plain() == "Hello dear caller of the world wide web, welcome back"


@pytest.mark.parametrize(
    "stream",
    [
        Stream(URL),
        Stream("ws://localhost:8000"),
        Stream("WSS://127.0.0.1/ws"),
        Stream(URL, bidirectional=True),
        Stream(URL, audio_track="both"),
        Stream(URL, status_callback_method="GET"),
        Stream(URL, content_type="audio/x-l16;rate=24000"),
        Stream(URL, content_type="audio/x-mulaw; rate=8000"),
        Stream(URL, extra_headers="é" * 256),
        Stream("wss://a/" + "x" * 2040),
    ],
)
def test_a_stream_without_a_problem(stream: Stream) -> None:
    assert stream.problem() is None


@pytest.mark.parametrize(
    ("stream", "problem"),
    [
        (Stream(""), "has no URL: the WebSocket's address is the text of the element"),
        (Stream("https://a/token"), "has a URL with the scheme https; allowed is wss and ws"),
        (Stream("app.example.net/token"), "has a URL with no scheme; allowed is wss and ws"),
        (Stream("wss://"), "has a URL without a host"),
        (Stream("wss://[::1/token"), "has a URL that cannot be read"),
        (Stream("wss://a:99999/token"), "has a URL that cannot be read"),
        (Stream("wss://a/to\nken"), "has white space in its URL"),
        (Stream("wss://a/" + "x" * 2041), "has a URL of 2049 characters; allowed is 2048"),
        (Stream(URL, audio_track="left"), "has audioTrack 'left'; allowed is inbound, outbound, both"),
        (
            Stream(URL, bidirectional=True, audio_track="both"),
            'is bidirectional, which audioTrack="both" does not allow: only inbound',
        ),
        (
            Stream(URL, bidirectional=True, audio_track="outbound"),
            'is bidirectional, which audioTrack="outbound" does not allow: only inbound',
        ),
        (Stream(URL, status_callback_method="PUT"), "has statusCallbackMethod 'PUT'; allowed is GET, POST"),
        (Stream(URL, extra_headers="é" * 257), "has 514 bytes of extraHeaders; allowed is 512"),
    ],
)
def test_a_stream_with_a_problem_says_which_and_keeps_the_token_to_itself(stream: Stream, problem: str) -> None:
    assert stream.problem() == f"the <Stream> {problem}"
    assert "token" not in problem


@pytest.mark.parametrize("content_type", ["audio/l16/16000", "audio/x-mulaw;rate=16000", "audio/x-l16", ""])
def test_a_content_type_that_no_stream_has(content_type: str) -> None:
    problem = Stream(URL, content_type=content_type).problem()
    assert problem is not None
    assert repr(content_type) in problem
    assert "audio/x-l16;rate=8000" in problem
