"""Answer XML to verbs and back (plivo-protocol.md, sections 1 and 7).

`parse` refuses what no carrier could run, and says why in one sentence; everything else that is wrong is survived and
told in `Document.diagnostics`. Both directions are driven by the metadata on the verbs' fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any

from bothway.errors import UsageError
from bothway.wire.attributes import Attribute
from bothway.wire.verbs import (
    SSML_TAGS,
    VERBS,
    Conference,
    Dial,
    Dtmf,
    GetInput,
    Message,
    MultiPartyCall,
    Number,
    Play,
    Redirect,
    Speak,
    Ssml,
    Stream,
    User,
    Verb,
)
from bothway.wire.xmltree import MAX_SIZE, Node, XmlError, read_tree

__all__ = ["MAX_DIAGNOSTICS", "Diagnostic", "Document", "parse", "to_xml"]

MAX_DIAGNOSTICS = 100
"""Diagnostics kept of one document, so that a hostile one cannot fill a log: our own bound."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """Something wrong that the document survived.

    Attributes:
        line: The line on which the element begins, from 1.
        element: The element's name.
        text: What was written, what was made of it, and what was meant, where that can be told.
    """

    line: int
    element: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document that can be run: its verbs in order (none: the call is answered and ends with 4010)."""

    verbs: tuple[Verb, ...]
    diagnostics: tuple[Diagnostic, ...] = ()


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the fields of one verb's class say about its element."""

    name: str
    verb: type[Any]
    text: str | None
    children: str | None
    allowed: frozenset[str]
    attributes: Mapping[str, tuple[str, Attribute, object]]


def _name(verb: type) -> str:
    return "DTMF" if verb is Dtmf else verb.__name__


def _shape(verb: type[Any]) -> _Shape:
    roles = {entry.metadata["role"]: entry for entry in fields(verb) if "role" in entry.metadata}
    children = roles.get("children")
    return _Shape(
        _name(verb),
        verb,
        text=roles["text"].name if "text" in roles else None,
        children=children.name if children else None,
        allowed=frozenset(map(_name, children.metadata["allowed"])) if children else frozenset(),
        attributes={
            entry.metadata["attribute"].named(entry.name): (entry.name, entry.metadata["attribute"], entry.default)
            for entry in fields(verb)
            if "attribute" in entry.metadata
        },
    )


_SHAPES = {shape.name: shape for shape in map(_shape, (*VERBS, Number, User))}
_TOP = frozenset(map(_name, VERBS))

_ELEMENT_HINTS = {
    "Say": "Plivo's word is <Speak>",
    "Gather": "Plivo's word is <GetInput>, or <GetDigits> for keys alone",
    "Connect": '<Stream bidirectional="true" keepCallAlive="true"> stands directly in <Response>',
    "Start": '<Stream> stands directly in <Response>, and runs beside the next verb unless keepCallAlive="true"',
    "Pause": "Plivo's word is <Wait>",
    "Reject": 'Plivo writes <Hangup reason="rejected"/>',
    "Enqueue": "Plivo has no queues; <Conference> with waitSound comes closest",
    "Queue": "Plivo has no queues; <Conference> comes closest",
    "Sms": "Plivo's word is <Message>",
    "Parameter": "Plivo passes metadata in the extraHeaders attribute of <Stream>",
    "Sip": "Plivo's word is <User>",
    "Client": "Plivo's word is <User>",
}
"""Verbs of Twilio's that people bring along (design.md, section 4)."""

_ATTRIBUTE_HINTS = {
    ("Stream", "track"): "Plivo's word is audioTrack, with inbound, outbound or both",
    ("Stream", "statusCallback"): "Plivo's word is statusCallbackUrl",
    ("Stream", "sampleRate"): "the rate is part of contentType, as in audio/x-l16;rate=16000",
    ("Stream", "url"): "the text of the element is the URL",
}


def parse(document: bytes | str) -> Document:
    """Read an answer document.

    Args:
        document: The body of the response. Bytes are decoded as their declaration says (UTF-8, UTF-16, ISO-8859-1,
            US-ASCII); of a string the declared encoding is ignored.

    Returns:
        The verbs, and a diagnostic for each thing that had to be put right or ignored. What makes only a stream fail
        is in neither: ask `Stream.problem`.

    Raises:
        XmlError: The document is empty, too long, no well-formed XML, of another root than `Response`, has a document
            type, nests what may not be nested, dials nobody, or holds elements but no verb.
    """
    root = read_tree(document)
    if root.name.lower() == "html":
        raise XmlError("is HTML, not XML", root.line)
    if root.name != "Response":
        raise XmlError(f"has the root <{_cut(root.name)}>; it must be <Response>", root.line)
    notes = _Notes()
    _attributes(root, {}, notes)
    _stray_text(root, notes)
    verbs = _verbs(root, _TOP, notes)
    if not verbs:
        first = next(root.elements(), None)
        if first is not None:
            raise XmlError(f"holds no verb of Plivo's: <{_cut(first.name)}> is unknown{_hint(first.name)}", first.line)
    return Document(verbs, tuple(notes.kept))


class _Notes:
    """The diagnostics of one document, at most `MAX_DIAGNOSTICS`."""

    def __init__(self) -> None:
        self.kept: list[Diagnostic] = []

    def add(self, node: Node, text: str) -> None:
        if len(self.kept) < MAX_DIAGNOSTICS:
            self.kept.append(Diagnostic(node.line, _cut(node.name), text))


def _verbs(parent: Node, allowed: frozenset[str], notes: _Notes) -> tuple[Any, ...]:
    """The verbs among a node's elements. A verb in the wrong place is an error, an unknown element is ignored."""
    found = []
    for node in parent.elements():
        if node.name in allowed:
            found.append(_verb(node, _SHAPES[node.name], notes))
        elif node.name in _SHAPES:
            raise _misplaced(node, parent, allowed)
        else:
            notes.add(node, _unknown(node.name))
    return tuple(found)


def _verb(node: Node, shape: _Shape, notes: _Notes) -> object:
    values: dict[str, object] = {}
    if shape.verb is Stream:
        values["url"] = _stream_url(node, notes)
        _verbs(node, frozenset(), notes)
    elif shape.verb is Speak:
        values["text"], values["ssml"] = _trimmed(*_mixed(node, notes))
    elif shape.text:
        values[shape.text] = node.text()
        _verbs(node, frozenset(), notes)
    else:
        _stray_text(node, notes)
        children = _verbs(node, shape.allowed, notes)
        if shape.children:
            values[shape.children] = children
    values.update(_attributes(node, shape.attributes, notes))
    verb = shape.verb(**values)
    flaw = _flaw(verb)
    if flaw is not None:
        raise XmlError(flaw, node.line)
    for doubt in _doubts(verb):
        notes.add(node, doubt)
    return verb


def _attributes(node: Node, known: Mapping[str, tuple[str, Attribute, object]], notes: _Notes) -> dict[str, object]:
    """The values of a node's attributes, by the names of the fields they belong to."""
    values = {}
    for name, written in node.attributes.items():
        if name in known:
            field_name, attribute, _default = known[name]
            values[field_name], note = attribute.read(written)
            if note is not None:
                notes.add(node, f"{name}={_shown(written)}: {note}")
        elif not name.startswith(("xmlns", "xml:", "xsi:")):
            notes.add(node, _unknown_attribute(node.name, name, known))
    return values


def _stream_url(node: Node, notes: _Notes) -> str:
    """The element's text, or the `url` attribute where the text is no URL (design.md, section 4)."""
    url = node.text()
    if "url" in node.attributes and "://" not in url:
        url = node.attributes.pop("url").strip()
        notes.add(node, "the URL is taken from the url attribute; Plivo reads the text of the element alone")
    return url


def _pieces(node: Node, notes: _Notes) -> Iterator[str | Ssml]:
    """What `<Speak>`, or an element in it, holds. Of an unknown element the words are kept."""
    for item in node.content:
        if isinstance(item, str):
            yield item
        elif item.name in SSML_TAGS:
            text, children = _mixed(item, notes)
            yield Ssml(item.name, tuple(item.attributes.items()), text, children)
        elif item.name in _SHAPES:
            raise _misplaced(item, node, SSML_TAGS)
        else:
            if item.name != "cont":  # an artefact of the official SDK, which takes it out again itself (section 7.2)
                notes.add(item, f"{_unknown(item.name)}; its words are kept")
            yield from _pieces(item, notes)


def _mixed(node: Node, notes: _Notes) -> tuple[str, tuple[Ssml, ...]]:
    """Mixed content as the text before the first element, and the elements with their tails."""
    start = ""
    elements: list[Ssml] = []
    for is_text, group in groupby(_pieces(node, notes), key=lambda piece: isinstance(piece, str)):
        if not is_text:
            elements.extend(piece for piece in group if isinstance(piece, Ssml))
            continue
        text = "".join(piece for piece in group if isinstance(piece, str))
        if elements:
            elements[-1] = _with_tail(elements[-1], text)
        else:
            start = text
    return start, tuple(elements)


def _with_tail(element: Ssml, tail: str) -> Ssml:
    return Ssml(element.tag, element.attributes, element.text, element.children, tail)


def _trimmed(text: str, ssml: tuple[Ssml, ...]) -> tuple[str, tuple[Ssml, ...]]:
    if not ssml:
        return text.strip(), ()
    return text.lstrip(), (*ssml[:-1], _with_tail(ssml[-1], ssml[-1].tail.rstrip()))


def _flaw(verb: object) -> str | None:
    """What makes the whole document invalid (plivo-protocol.md, 7.3); an endpoint is treated as a number is."""
    match verb:
        case Dial(children=()):
            return "has a <Dial> with no <Number> and no <User> in it"
        case Number(number="") | User(uri=""):
            return f"has an empty <{type(verb).__name__}>"
        case _:
            return None


def _doubts(verb: object) -> Iterator[str]:
    """What the documents ask of a verb, and a call can yet go on without."""
    match verb:
        case Speak(text="", ssml=()) | Play(url="") | Redirect(url="") | Dtmf(digits="") | Message(text=""):
            yield "the element has no text"
        case Conference(room="") | MultiPartyCall(name=""):
            yield "the element has no text, which is the name of the room"
        case Dtmf(digits=digits) if not re.fullmatch(r"[0-9*#wW]*", digits):
            yield "keys are 0-9, * and #, with w and W for pauses"
        case GetInput(action=None):
            yield "action is required: without it nobody gets the input"
        case User(uri=uri) if not uri.lower().startswith(("sip:", "sips:")):
            yield "the text of a <User> is a SIP address that begins with sip:"
    match verb:
        case MultiPartyCall(role=None):
            yield "role is required: Agent, Supervisor, Customer or ai-agent"
        case Message(src=src, dst=dst) if not (src and dst):
            yield "src and dst are required"
        case User(sip_auth_username=name, sip_auth_password=password) if (name is None) != (password is None):
            yield "sipAuthUsername and sipAuthPassword are needed together"
        case User(sip_auth_password=str(password)) if not 8 <= len(password) <= 128:
            yield "sipAuthPassword has 8 to 128 characters"


def _stray_text(node: Node, notes: _Notes) -> None:
    if node.text():
        notes.add(node, f"text directly in <{_cut(node.name)}> is ignored")


def _misplaced(node: Node, parent: Node, allowed: Iterable[str]) -> XmlError:
    names = ", ".join(sorted(allowed)) if allowed is not _TOP else "verbs"
    return XmlError(
        f"puts <{node.name}> into <{_cut(parent.name)}>, which takes {f'only {names}' if names else 'no elements'}",
        node.line,
    )


def _unknown(name: str) -> str:
    return f"an unknown element, ignored{_hint(name)}"


def _hint(name: str) -> str:
    hint = _ELEMENT_HINTS.get(name)
    same = next((known for known in (*_SHAPES, *SSML_TAGS) if known.lower() == name.lower()), None)
    if hint is None and same is not None:
        hint = f"write <{same}>, in that case" if same != name else "it belongs in <Speak>"
    return f": {hint}" if hint else ""


def _unknown_attribute(element: str, name: str, known: Iterable[str]) -> str:
    bare = re.sub("[_-]", "", name).lower()
    same = next((other for other in known if other.lower() == bare), None)
    hint = _ATTRIBUTE_HINTS.get((element, name)) or (f"write {same}" if same else None)
    return f"unknown attribute {_cut(name)}, ignored{f': {hint}' if hint else ''}"


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"


def _shown(value: str) -> str:
    return f'"{_cut(value)}"'


_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2
_SSML_ATTRIBUTE = re.compile(r"[A-Za-z_][\w.-]*(:[A-Za-z_][\w.-]*)?", re.ASCII)
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"}
_TEXT_ESCAPES = str.maketrans(_ESCAPES)
_VALUE_ESCAPES = str.maketrans({**_ESCAPES, '"': "&quot;", "\t": "&#9;", "\n": "&#10;"})


def to_xml(verbs: Iterable[Verb], *, pretty: bool = False) -> str:
    """Print verbs as an answer document, without the attributes that have their default values.

    `parse` gives the same verbs back, but for white space at the ends of an element's text.

    Args:
        verbs: In order; none gives `<Response/>`.
        pretty: One element a line, indented by two spaces. Spoken text is never broken up.

    Raises:
        UsageError: A verb would not be understood: a value out of its range, a stream with a `problem`, a verb
            where it may not stand, a `Dial` of nobody, a character that XML cannot carry; or it all is too long.
    """
    margin = "\n" if pretty else ""
    document = _element("Response", "", [_printed(verb, _TOP, margin and margin + "  ") for verb in verbs], margin)
    size = len(document.encode())
    if size > MAX_SIZE:
        raise UsageError(f"the answer document would be {size} bytes long; allowed is {MAX_SIZE} (100 KB)")
    return document


def _printed(verb: object, allowed: frozenset[str], margin: str) -> str:
    """One verb, on a line of its own if `margin` (a line feed and the indentation) is not empty."""
    shape = _SHAPES.get(_name(type(verb)))
    if shape is None or shape.verb is not type(verb) or shape.name not in allowed:
        raise UsageError(f"a {type(verb).__name__} cannot stand there; allowed is {', '.join(sorted(allowed))}")
    fault = verb.problem() if isinstance(verb, Stream) else _flaw(verb)
    if fault is not None:
        raise UsageError(fault if isinstance(verb, Stream) else f"the answer document {fault}")
    attributes = "".join(_printed_attributes(verb, shape))
    if shape.children:
        deeper = margin and margin + "  "
        inner = [_printed(child, shape.allowed, deeper) for child in getattr(verb, shape.children)]
        return margin + _element(shape.name, attributes, inner, margin)
    text = _escaped(getattr(verb, shape.text), _TEXT_ESCAPES) if shape.text else ""
    if isinstance(verb, Speak):
        text += "".join(map(_printed_ssml, verb.ssml))
    return margin + _element(shape.name, attributes, [text])


def _printed_attributes(verb: object, shape: _Shape) -> Iterator[str]:
    for name, (field_name, attribute, default) in shape.attributes.items():
        value = getattr(verb, field_name)
        if value == default:
            continue
        written = str(value).lower() if isinstance(value, bool) else str(value)
        read, note = attribute.read(written)
        if note is not None or read != value:
            raise UsageError(f"the {field_name} of a {type(verb).__name__} cannot be written: {note or 'wrong type'}")
        yield f' {name}="{_escaped(written, _VALUE_ESCAPES)}"'


def _printed_ssml(element: Ssml) -> str:
    if element.tag not in SSML_TAGS:
        raise UsageError(f"SSML in a Speak is one of {', '.join(sorted(SSML_TAGS))}, not {_shown(element.tag)}")
    if len(dict(element.attributes)) < len(element.attributes):
        raise UsageError(f"an attribute stands twice in a <{element.tag}> of SSML")
    attributes = ""
    for name, value in element.attributes:
        if not _SSML_ATTRIBUTE.fullmatch(name):
            raise UsageError(f"{_shown(name)} is no name for an attribute of SSML")
        attributes += f' {name}="{_escaped(value, _VALUE_ESCAPES)}"'
    inner = _escaped(element.text, _TEXT_ESCAPES) + "".join(map(_printed_ssml, element.children))
    return _element(element.tag, attributes, [inner]) + _escaped(element.tail, _TEXT_ESCAPES)


def _element(name: str, attributes: str, inner: list[str], margin: str = "") -> str:
    """An element with what it holds; `margin` goes before its end tag."""
    content = "".join(inner)
    return f"<{name}{attributes}>{content}{margin}</{name}>" if content else f"<{name}{attributes}/>"


def _escaped(text: str, escapes: dict[int, str]) -> str:
    illegal = _NOT_XML.search(text)
    if illegal is not None:
        raise UsageError(f"XML cannot carry the character U+{ord(illegal[0]):04X}")
    return text.translate(escapes)
