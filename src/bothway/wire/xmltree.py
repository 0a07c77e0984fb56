"""An answer document's bytes to a bounded tree of elements, through expat.

A document type is refused where it begins: no entity is ever declared or expanded, and nothing outside the document
is ever fetched. Size and depth are bounded before anything is built from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

from bothway.errors import PeerError

__all__ = ["MAX_DEPTH", "MAX_SIZE", "Node", "XmlError", "read_tree"]

MAX_SIZE = 100 * 1024
"""Bytes in an answer document (plivo-protocol.md, section 7.1)."""

MAX_DEPTH = 32
"""Elements that may stand inside one another: our own bound, several times what nested SSML needs."""


class XmlError(PeerError):
    """The answer document cannot be run: hang-up code 8011 to 8014, by what had asked for it (plivo-protocol.md, 7.1).

    Attributes:
        line: The line of the fault, from 1.
    """

    def __init__(self, fault: str, line: int = 1) -> None:
        super().__init__(f"the answer document {fault}")
        self.line = line


@dataclass(slots=True)
class Node:
    """One element.

    Attributes:
        name: As written, prefix included.
        attributes: As written, in order.
        line: Where the element begins, from 1.
        content: Text and elements, in order; one text may come in several parts.
    """

    name: str
    attributes: dict[str, str]
    line: int
    content: list[str | Node] = field(default_factory=list)

    def elements(self) -> Iterator[Node]:
        """The elements directly inside."""
        return (item for item in self.content if not isinstance(item, str))

    def text(self) -> str:
        """The text directly inside, without white space at its ends."""
        return "".join(item for item in self.content if isinstance(item, str)).strip()


_HTML = re.compile(rb"(?:<\?xml[^>]*>\s*)?<(?:!doctype\s+)?html\b", re.IGNORECASE)
_BARE_AMPERSAND = re.compile(rb"&(?!#?\w+;)")
_ENCODINGS = {"utf-8", "utf-16", "utf-16le", "utf-16be", "iso-8859-1", "us-ascii"}  # those that expat itself reads
_MISPLACED_DECLARATION = expat.errors.codes[expat.errors.XML_ERROR_MISPLACED_XML_PI]


def _checked(document: bytes | str) -> bytes:
    """The document's bytes, once it is known to be of a bearable size and not something else altogether."""
    try:
        content = document.removeprefix("\ufeff").encode() if isinstance(document, str) else document
    except UnicodeEncodeError as error:
        raise XmlError(f"holds half of a surrogate pair, at character {error.start}") from error
    if len(content) > MAX_SIZE:
        raise XmlError(f"is {len(content)} bytes long; allowed is {MAX_SIZE} (100 KB)")
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise XmlError("is empty")
    if _HTML.match(start):
        raise XmlError("is HTML, not XML")
    if start[:1] in (b"{", b"["):
        raise XmlError("is JSON, not XML")
    return content


def read_tree(document: bytes | str) -> Node:
    """Read the root element and all that it holds.

    Args:
        document: Bytes are decoded as their declaration says (UTF-8, UTF-16, ISO-8859-1, US-ASCII); of a string the
            declared encoding is ignored.

    Raises:
        XmlError: The document is empty, too long or too deep, HTML or JSON, has a document type, or is not
            well formed.
    """
    content = _checked(document)
    parser = expat.ParserCreate("utf-8" if isinstance(document, str) else None)
    parser.buffer_text = True
    top = Node("", {}, 1)
    stack = [top]

    def begin(name: str, attributes: dict[str, str]) -> None:
        if len(stack) > MAX_DEPTH:
            raise XmlError(f"nests elements more than {MAX_DEPTH} deep", parser.CurrentLineNumber)
        node = Node(name, attributes, parser.CurrentLineNumber)
        stack[-1].content.append(node)
        stack.append(node)

    def end(_name: str) -> None:
        stack.pop()

    def characters(text: str) -> None:
        stack[-1].content.append(text)

    def declaration(_version: str, encoding: str | None, _standalone: int) -> None:
        if encoding and isinstance(document, bytes) and encoding.lower() not in _ENCODINGS:
            raise XmlError(f"declares the encoding {encoding[:40]!r}, which is not read: write UTF-8")

    def doctype(_name: str, _system: str | None, _public: str | None, _subset: int) -> NoReturn:
        raise XmlError("has a document type (<!DOCTYPE …>), which is not accepted", parser.CurrentLineNumber)

    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.XmlDeclHandler = declaration
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise _malformed(content, error) from error
    finally:
        # They know the parser, and it knows them: it would wait for the garbage collector.
        parser.StartElementHandler = parser.StartDoctypeDeclHandler = None
    return next(top.elements())


def _malformed(content: bytes, error: expat.ExpatError) -> XmlError:
    if error.code == _MISPLACED_DECLARATION:
        return XmlError("has white space or a comment before its XML declaration, which must come first", error.lineno)
    lines = content.split(b"\n")
    line = lines[error.lineno - 1] if error.lineno <= len(lines) else b""
    hint = " (a bare & is written &amp;)" if _BARE_AMPERSAND.search(line) else ""
    return XmlError(f"is not well-formed XML: {error}{hint}", error.lineno)
