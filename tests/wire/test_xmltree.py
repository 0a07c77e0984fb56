from __future__ import annotations

import time

import pytest

from bothway.errors import PeerError
from bothway.wire.xmltree import MAX_DEPTH, MAX_SIZE, XmlError, read_tree


def test_a_tree_keeps_names_attributes_lines_and_content() -> None:
    root = read_tree('<?xml version="1.0"?>\n<a b="1" c="&amp;">\n x <!-- no --><d/><![CDATA[<y>]]> </a>')
    assert (root.name, root.attributes, root.line) == ("a", {"b": "1", "c": "&"}, 2)
    assert root.text() == "x <y>"
    (inner,) = root.elements()
    assert (inner.name, inner.line, inner.content) == ("d", 3, [])


@pytest.mark.parametrize(
    "document",
    [
        "<a>é</a>",
        "\ufeff<a>é</a>",
        '<?xml version="1.0" encoding="no-such"?><a>é</a>',
        '<?xml version="1.0" encoding="utf-16"?><a>é</a>',
        "<a>é</a>".encode(),
        "<a>é</a>".encode("utf-8-sig"),
        "<a>é</a>".encode("utf-16"),
        '<?xml version="1.0" encoding="utf-16"?><a>é</a>'.encode("utf-16"),
        '<?xml version="1.0" encoding="UTF-8"?><a>é</a>'.encode(),
        '<?xml version="1.0" encoding="ISO-8859-1"?><a>é</a>'.encode("latin-1"),
    ],
)
def test_encodings(document: bytes | str) -> None:
    assert read_tree(document).text() == "é"


DECLARED = b'<?xml version="1.0" encoding="%s"?><a/>'


@pytest.mark.parametrize(
    ("document", "fault", "line"),
    [
        (b"", "is empty", 1),
        ("", "is empty", 1),
        (b" \r\n\t", "is empty", 1),
        (b"\xef\xbb\xbf", "is empty", 1),
        (b"<!DOCTYPE html><html><br></html>", "is HTML, not XML", 1),
        (b"\n<HTML lang='en'>", "is HTML, not XML", 1),
        (b'<?xml version="1.0"?>\n<!doctype HTML><p>', "is HTML, not XML", 1),
        (b'{"error": "no"}', "is JSON, not XML", 1),
        (b"[]", "is JSON, not XML", 1),
        (b"Internal Server Error", "is not well-formed XML: syntax error: line 1, column 0", 1),
        (b"<a>\n</b>", "is not well-formed XML: mismatched tag: line 2, column 2", 2),
        (
            b"<a>\nwss://x?a=1&b=2</a>",
            "is not well-formed XML: not well-formed (invalid token): line 2, column 13 (a bare & is written &amp;)",
            2,
        ),
        (b"<a>&nbsp;</a>", "is not well-formed XML: undefined entity: line 1, column 3", 1),
        (b"<a>\xe9</a>", "is not well-formed XML: not well-formed (invalid token): line 1, column 3", 1),
        (
            b'\n <?xml version="1.0"?><a/>',
            "has white space or a comment before its XML declaration, which must come first",
            2,
        ),
        (b"<a/>\n<!DOCTYPE a>", "is not well-formed XML: junk after document element: line 2, column 0", 2),
        (b"\n<!DOCTYPE a><a/>", "has a document type (<!DOCTYPE …>), which is not accepted", 2),
        (DECLARED % b"utf8", "declares the encoding 'utf8', which is not read: write UTF-8", 1),
        (DECLARED % b"rot13", "declares the encoding 'rot13', which is not read: write UTF-8", 1),
        ("<a>\ud800</a>", "holds half of a surrogate pair, at character 3", 1),
    ],
)
def test_what_is_refused_and_how(document: bytes | str, fault: str, line: int) -> None:
    with pytest.raises(XmlError) as caught:
        read_tree(document)
    assert str(caught.value) == f"the answer document {fault}"
    assert caught.value.line == line
    assert isinstance(caught.value, PeerError)


def test_size_is_bounded_in_bytes() -> None:
    assert read_tree(b"<a>" + b" " * (MAX_SIZE - 7) + b"</a>").text() == ""
    with pytest.raises(XmlError, match=r"is 102401 bytes long; allowed is 102400 \(100 KB\)"):
        read_tree(b"<a>" + b" " * (MAX_SIZE - 6) + b"</a>")
    with pytest.raises(XmlError, match="is 204803 bytes long"):
        read_tree("<a>" + "é" * MAX_SIZE)


def test_depth_is_bounded() -> None:
    assert read_tree("<a>" * MAX_DEPTH + "</a>" * MAX_DEPTH).name == "a"
    with pytest.raises(XmlError, match="nests elements more than 32 deep"):
        read_tree("<a>" * (MAX_DEPTH + 1) + "</a>" * (MAX_DEPTH + 1))
    with pytest.raises(XmlError, match="nests elements more than 32 deep"):
        read_tree("<a>" * 30_000)


BILLION_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">'
    + "".join(f'<!ENTITY lol{n} "{f"&lol{n - 1 or str()};" * 10}">' for n in range(1, 10))
    + "]><Response><Speak>&lol9;</Speak></Response>"
)


@pytest.mark.parametrize(
    "document",
    [
        BILLION_LAUGHS,
        '<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><Response><Speak>&x;</Speak></Response>',
        '<!DOCTYPE r SYSTEM "http://127.0.0.1:1/evil.dtd"><Response/>',
        '<!DOCTYPE r [<!ENTITY % p SYSTEM "http://127.0.0.1:1/p"> %p;]><Response/>',
    ],
)
def test_document_types_are_refused_at_once(document: str) -> None:
    began = time.perf_counter()
    with pytest.raises(XmlError, match="has a document type"):
        read_tree(document.encode())
    assert time.perf_counter() - began < 0.05


def test_hostile_shapes_of_the_greatest_size_take_no_more_than_a_moment() -> None:
    for unit in (b"<a/>", b"&", b" ", b"<!-- -->x", b"&#38;", b'<a b="">', b"<?xml "):
        began = time.perf_counter()
        try:
            read_tree(b"<r>" + unit * (MAX_SIZE // len(unit) - 2) + b"</r>")
        except XmlError:
            pass
        assert time.perf_counter() - began < 1
