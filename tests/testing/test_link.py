"""Two real sockets, what carries bytes between them, and every fault."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.testing.in_network import in_network, open_descriptors, read, read_all, send, steps

from bothway.errors import UsageError
from bothway.testing.link import Link
from bothway.testing.memory_socket import MemorySocket, make_end
from bothway.testing.network import NetworkLoop

CLIENT = ("10.255.0.1", 49152)
SERVER = ("10.0.0.1", 80)


@asynccontextmanager
async def linked() -> AsyncIterator[tuple[Link, MemorySocket, MemorySocket]]:
    """A link, and its client's and its server's end."""
    (client, client_relay), (server, server_relay) = make_end(), make_end()
    closed: list[Link] = []
    link = Link(
        number=1,
        client=CLIENT,
        server=SERVER,
        host="app.test",
        tls=None,
        ends=(client, server),
        relays=(client_relay, server_relay),
        closed=closed.append,
    )
    link.start()
    try:
        yield link, client, server
    finally:
        client.close()
        server.close()
        link.close()
        assert closed == [link]
        assert not link.is_open


def fill(sock: MemorySocket, piece: bytes = bytes(400)) -> int:
    """Send until no more is taken; gives how many bytes were."""
    taken = 0
    try:
        while True:
            taken += sock.send(piece)
    except BlockingIOError:
        return taken


@in_network
async def test_bytes_pass_both_ways_and_the_ends_know_each_other() -> None:
    async with linked() as (link, client, server):
        await send(client, b"question")
        assert await read(server) == b"question"
        await send(server, b"answer")
        assert await read(client) == b"answer"
        assert (client.getsockname(), client.getpeername()) == (CLIENT, SERVER)
        assert (server.getsockname(), server.getpeername()) == (SERVER, CLIENT)
        assert repr(link) == "<Link 1: 10.255.0.1:49152 to app.test:80>"


@in_network
async def test_the_end_of_one_direction_leaves_the_other_open() -> None:
    async with linked() as (link, client, server):
        await send(client, b"all I have")
        client.shutdown(socket.SHUT_WR)
        assert await read_all(server) == b"all I have"
        await send(server, b"thanks")
        assert await read(client) == b"thanks"
        assert link.is_open
        server.close()
        assert await read(client) == b""
        assert not link.is_open


@in_network
async def test_both_ends_are_reset() -> None:
    async with linked() as (link, client, server):
        await send(client, b"read before the reset")
        await steps()
        link.reset()
        assert await read(server) == b"read before the reset"
        for end in (client, server):
            with pytest.raises(ConnectionResetError):
                await read(end)
        link.reset()


@in_network
async def test_what_was_under_way_is_lost_in_a_reset() -> None:
    async with linked() as (link, client, server):
        link.latency = 10.0
        await send(client, b"never arrives")
        await steps()
        link.reset()
        with pytest.raises(ConnectionResetError):
            await read(server)


@in_network
async def test_a_reset_finds_one_end_closed_and_the_other_full() -> None:
    async with linked() as (link, client, server):
        link.stall()
        fill(client)
        server.close()
        link.reset()
        with pytest.raises(ConnectionResetError):
            await read(client)


@in_network
async def test_an_end_that_had_ended_its_direction_sees_an_end_of_file_in_a_reset() -> None:
    async with linked() as (link, client, server):
        client.shutdown(socket.SHUT_WR)
        assert await read(server) == b""
        link.reset()
        assert await read(client) == b""
        with pytest.raises(ConnectionResetError):
            await read(server)


@in_network
async def test_a_closed_link_gives_both_ends_an_end_of_file() -> None:
    async with linked() as (link, client, server):
        link.close()
        assert await read(client) == b""
        assert await read(server) == b""
    async with linked() as (link, client, server):
        link.stall()
        await send(client, b"not taken")
        link.close()
        with pytest.raises(ConnectionResetError):
            await read(client)
        assert await read(server) == b""


@in_network
async def test_closing_with_something_unread_resets_the_other_end_after_what_was_said() -> None:
    async with linked() as (link, client, server):
        await send(client, b"nobody reads this")
        await steps()
        await send(server, b"goodbye")
        server.close()
        assert await read(client) == b"goodbye"
        with pytest.raises(ConnectionResetError):
            await read(client)
        assert not link.is_open


@in_network
async def test_sending_to_an_end_that_closed_leads_to_a_reset() -> None:
    async with linked() as (_, client, server):
        server.close()
        assert await read(client) == b""
        await send(client, b"is anybody there?")
        await steps()
        with pytest.raises(ConnectionResetError):
            await read(client)


@in_network
async def test_what_an_end_said_before_it_closed_arrives_though_more_was_sent_to_it() -> None:
    async with linked() as (link, client, server):
        link.to_client.latency = 0.02
        await send(server, b"413 Too Large")
        await steps()
        server.close()
        for _ in range(4):
            await send(client, b"more of a large body")
            await steps()
        assert await read(client) == b"413 Too Large"
        with pytest.raises(ConnectionResetError):
            await read(client)


@in_network
async def test_a_receiver_that_does_not_read_holds_up_its_sender_and_loses_nothing() -> None:
    async with linked() as (_, client, server):
        taken = 0
        while more := fill(client):
            taken += more
            await steps()
        assert 50_000 < taken < 400_000
        client.close()
        assert len(await read_all(server)) == taken


@in_network
async def test_large_writes_arrive_whole() -> None:
    message = bytes(range(256)) * 8000
    async with linked() as (_, client, server):
        sending = asyncio.create_task(send(client, message))
        got = b""
        while len(got) < len(message):
            got += await read(server, 100_000)
        await sending
        assert got == message


@in_network
async def test_latency_delays_every_byte_and_keeps_the_order() -> None:
    loop = asyncio.get_running_loop()
    async with linked() as (link, client, server):
        link.latency = 0.03
        start = loop.time()
        await send(client, b"1")
        await asyncio.sleep(0.01)
        await send(client, b"2")
        await steps()
        link.latency = 0.0
        await send(client, b"3")
        client.shutdown(socket.SHUT_WR)
        assert await read(server) == b"1"
        assert loop.time() >= start + 0.03
        assert await read_all(server) == b"23"
        assert loop.time() >= start + 0.04
        assert (link.latency, link.pieces) == (0.0, None)


@in_network
async def test_latency_holds_no_more_than_so_much() -> None:
    async with linked() as (link, client, _):
        link.latency = 60.0
        taken = 0
        while more := fill(client, bytes(4000)):
            taken += more
            await steps()
        assert 256_000 < taken < 600_000


@in_network
async def test_pieces_are_read_one_by_one() -> None:
    async with linked() as (link, client, server):
        link.pieces = 2
        await send(client, b"seven.." + b"bytes")
        client.shutdown(socket.SHUT_WR)
        assert [await read(server) for _ in range(7)] == [b"se", b"ve", b"n.", b".b", b"yt", b"es", b""]


@in_network
async def test_pieces_wait_for_a_receiver_that_is_full() -> None:
    async with linked() as (link, client, server):
        link.to_server.pieces = 1
        message = bytes(range(250)) * 4
        await send(client, message)
        client.shutdown(socket.SHUT_WR)
        await steps(600)
        assert await read_all(server) == message


@in_network
async def test_a_stalled_direction_waits_and_the_other_does_not() -> None:
    async with linked() as (link, client, server):
        link.to_server.stall()
        await send(client, b"later")
        client.shutdown(socket.SHUT_WR)
        await send(server, b"now")
        assert await read(client) == b"now"
        await steps()
        with pytest.raises(BlockingIOError):
            server.recv(10)
        link.to_server.resume()
        assert await read_all(server) == b"later"


@in_network
async def test_a_stall_for_a_time_ends_by_itself() -> None:
    loop = asyncio.get_running_loop()
    async with linked() as (link, client, server):
        await send(client, b"1")
        await steps()
        link.stall()
        link.stall(0.03)
        start = loop.time()
        await send(client, b"2")
        assert await read(server) == b"1"
        assert await read(server) == b"2"
        assert loop.time() >= start + 0.03


@in_network
async def test_a_stall_that_ends_after_the_link_does_nothing() -> None:
    async with linked() as (link, client, _):
        link.stall(0.01)
        link.reset()
        await asyncio.sleep(0.02)
        link.stall()
        link.resume()
        with pytest.raises(ConnectionResetError):
            await read(client)


@in_network
async def test_neither_end_learns_that_the_other_vanished() -> None:
    async with linked() as (link, client, server):
        link.stall(0.001)
        link.vanish()
        link.stall(0.001)
        await send(client, b"hello?")
        assert 10_000 < fill(client) < 200_000
        server.close()
        await asyncio.sleep(0.01)
        with pytest.raises(BlockingIOError):
            client.recv(10)
        with pytest.raises(UsageError, match="does not come back"):
            link.resume()
        link.reset()
        with pytest.raises(ConnectionResetError):
            await read(client)


def test_an_end_that_nobody_holds_is_not_kept_alive() -> None:
    before = open_descriptors()

    async def main() -> None:
        async with linked() as (_, client, server):
            number = server.detach()
            del server
            socket.close(number)
            assert await read(client) == b""

    with asyncio.Runner(loop_factory=NetworkLoop) as runner:
        runner.run(main())
    assert open_descriptors() == before


faults = st.one_of(
    st.tuples(st.just("send"), st.integers(1, 3000)),
    st.tuples(st.just("pieces"), st.sampled_from([None, 1, 7, 500])),
    st.tuples(st.just("latency"), st.sampled_from([0.0, 0.0005, 0.001])),
    st.tuples(st.just("stall"), st.sampled_from([None, 0.0005])),
    st.tuples(st.just("resume"), st.none()),
    st.tuples(st.just("step"), st.none()),
)


@settings(max_examples=40)
@given(st.lists(faults, max_size=20))
def test_whatever_is_done_to_a_link_that_lives_every_byte_arrives_in_order(
    plan: list[tuple[str, float | int | None]],
) -> None:
    async def main() -> None:
        sent = b""
        async with linked() as (link, client, server):
            reading = asyncio.create_task(read_all(server))
            for what, value in plan:
                if what == "send":
                    assert value is not None
                    message = bytes(len(sent) + n & 0xFF for n in range(int(value)))
                    sent += message
                    await send(client, message)
                elif what == "resume":
                    link.to_server.resume()
                elif what == "step":
                    await asyncio.sleep(0)
                elif what == "stall":
                    link.to_server.stall(value)
                else:
                    setattr(link.to_server, what, value)
            client.shutdown(socket.SHUT_WR)
            link.to_server.resume()
            async with asyncio.timeout(10):
                assert await reading == sent

    with asyncio.Runner(loop_factory=NetworkLoop) as runner:
        runner.run(main())
