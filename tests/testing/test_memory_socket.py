"""Real descriptors with made-up addresses."""

from __future__ import annotations

import os
import socket
import ssl
import sys

import pytest
from tests.testing.in_network import open_descriptors

from bothway.errors import UsageError
from bothway.testing.memory_socket import End, MemorySocket, end_of, listening_socket, make_end, name_end

HERE = ("10.255.0.1", 49152)
THERE = ("10.0.0.1", 443)


def test_an_end_shows_the_addresses_it_was_named_with_and_looks_like_tcp() -> None:
    sock, relay = make_end()
    with sock, relay:
        name_end(sock, End(HERE, THERE))
        assert (sock.getsockname(), sock.getpeername()) == (HERE, THERE)
        assert (sock.family, sock.type, sock.proto) == (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        assert "10.0.0.1" in repr(sock)
        sock.send(b"hello")
        assert relay.recv(10) == b"hello"


def test_options_of_tcp_are_taken_and_those_of_the_socket_are_real() -> None:
    sock, relay = make_end()
    with sock, relay:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_a_plain_socket_becomes_an_end_and_keeps_its_identity_and_number() -> None:
    before = open_descriptors()
    plain = socket.socket()
    plain.setblocking(False)
    number = plain.fileno()
    sock, relay = make_end(plain)
    with sock, relay:
        assert sock is plain
        assert isinstance(plain, MemorySocket)
        assert plain.fileno() == number
        relay.send(b"hello")
        assert os.read(number, 10) == b"hello"
    assert open_descriptors() == before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems round the sizes of buffers in ways of their own")
def test_a_send_buffer_that_was_asked_for_is_kept() -> None:
    plain, usual = socket.socket(), socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 6000)
    small, small_relay = make_end(plain)
    large, large_relay = make_end(usual)
    with small, small_relay, large, large_relay:
        assert small.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 12_000
        assert large.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 128 * 1024


def test_a_socket_of_another_class_is_refused() -> None:
    context = ssl.create_default_context()
    with (
        context.wrap_socket(socket.socket(), server_hostname="x") as sock,
        pytest.raises(UsageError, match="SSLSocket"),
    ):
        make_end(sock)


def test_a_closed_socket_cannot_become_an_end_and_nothing_stays_open() -> None:
    before = open_descriptors()
    plain = socket.socket()
    plain.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        make_end(plain)
    assert open_descriptors() == before


def test_a_listening_socket_has_an_address_and_no_peer() -> None:
    with listening_socket(THERE) as sock:
        assert sock.getsockname() == THERE
        with pytest.raises(OSError, match="not connected"):
            sock.getpeername()


def test_only_ends_are_known_as_such() -> None:
    with socket.socket() as plain:
        assert end_of(plain) is None
    sock, relay = make_end()
    with sock, relay:
        assert end_of(sock) is None
        name_end(sock, End(HERE, THERE))
        assert end_of(sock) == End(HERE, THERE)
