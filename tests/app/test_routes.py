from __future__ import annotations

import pytest

from bothway.app.routes import AnswerRoute, Routes, check_handler, header_attribute
from bothway.errors import UsageError
from bothway.wire.extra_headers import parse_wire
from bothway.wire.verbs import Dial, Speak, Stream

ANY = "wss://h.example/"


async def handler(_: object) -> None: ...


class Agent:
    async def __call__(self, _: object) -> None: ...


def route(path: str, **stream: object) -> AnswerRoute:
    return AnswerRoute(path, Agent(), (), (), Stream(ANY, **stream))  # type: ignore[arg-type]


def test_a_stream_s_path_leads_to_its_route() -> None:
    routes = Routes()
    for path in ("/", "/answer", "/a/b"):
        routes.add_answer(route(path))
    for path in routes.answers:
        found = routes.find_stream(routes.answers[path].stream_prefix + "t0k.en")
        assert found == (routes.answers[path], "t0k.en")
    for path in ("/answer", "/answer/stream", "/answer/stream/a/b", "/other/stream/x", "/answerstream/x"):
        assert routes.find_stream(path) is None


def test_a_path_is_used_once() -> None:
    routes = Routes()
    routes.add_answer(route("/answer"))
    routes.add_bare("/stream", handler)
    for path in ("/answer", "/stream", "/healthz", "/readyz", "/metrics"):
        with pytest.raises(UsageError, match="is taken"):
            routes.take(path)
    for path in ("answer", "", "/a?b", "/a#b"):
        with pytest.raises(UsageError, match="begins with /"):
            routes.take(path)


def test_a_document_that_cannot_be_written_is_refused_at_once() -> None:
    routes = Routes()
    for wrong in (
        route("/a", bidirectional=True, audio_track="both"),
        route("/a", content_type="audio/mp3"),
        route("/a", stream_timeout=0),
        route("/a", extra_headers="x" * 513),
        AnswerRoute("/a", handler, (Dial(()),), (), Stream(ANY)),
    ):
        with pytest.raises(UsageError):
            routes.add_answer(wrong)
    routes.add_answer(AnswerRoute("/a", handler, (Speak("hi"),), (), Stream(ANY)))


def test_a_handler_can_be_awaited() -> None:
    def plain(_: object) -> None: ...

    check_handler(handler)
    check_handler(Agent())
    with pytest.raises(UsageError, match="plain has to be an `async def`"):
        check_handler(plain)
    with pytest.raises(UsageError, match="str cannot even be called"):
        check_handler("handler")  # type: ignore[arg-type]


def test_the_only_handler() -> None:
    routes = Routes()
    with pytest.raises(UsageError, match="0 are registered"):
        routes.only_handler()
    routes.add_bare("/stream", handler)
    assert routes.only_handler() is handler
    routes.add_answer(route("/answer"))
    with pytest.raises(UsageError, match="2 are registered"):
        routes.only_handler()


def test_extra_headers_survive_the_wire() -> None:
    headers = {"tier": "gold", "phone": "+1 (415), x", "empty": ""}
    written = header_attribute(headers)
    assert written is not None
    assert dict(parse_wire(written)) == headers
    assert header_attribute({}) is None
    with pytest.raises(UsageError, match="letters, digits"):
        header_attribute({"a=b": "c"})
