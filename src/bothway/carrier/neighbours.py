"""The other carriers of a data folder on this machine: how a request finds the one that has the call.

Each listens for the others at a Unix socket in a folder of its own that only its user can enter, and notes in the data
folder where that is. Nothing but HTTP requests of the REST API goes over it, with the credentials that they came with:
whoever answers checks them again. A carrier that was killed leaves a note and a socket at which nobody listens.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from yarl import URL

from bothway.carrier.node import node_of
from bothway.errors import PeerError
from bothway.runtime.asgi import ASGIApp
from bothway.runtime.duplex import Refusal, UpgradeRequest
from bothway.runtime.server import Server

__all__ = ["ANSWER_LIMIT", "ANSWER_SECONDS", "Asked", "Neighbours", "NoNeighbourError", "Told"]

ANSWER_SECONDS = 15.0
"""How long a neighbour may take to answer."""

ANSWER_LIMIT = 4 * 1024 * 1024
"""The largest answer that is passed on, in bytes."""

_CONNECT_SECONDS = 2.0
_NOT_PASSED_ON = {
    "connection", "content-length", "date", "expect", "keep-alive", "proxy-connection", "server", "te", "trailer",
    "transfer-encoding", "upgrade",
}  # fmt: skip
"""What is about one connection, and not about the request or the answer (RFC 9110, section 7.6.1)."""

logger = logging.getLogger(__name__)


class NoNeighbourError(PeerError):
    """Another carrier could not be asked.

    Args:
        message: What happened, as a sentence.
        gone: Whether nobody listens there: then nothing has been done.
    """

    def __init__(self, message: str, *, gone: bool) -> None:
        super().__init__(message)
        self.gone = gone


@dataclass(frozen=True)
class Asked:
    """A request as it came.

    Attributes:
        method: Of HTTP.
        target: Path and query, percent-encoded.
        headers: Of the request.
        body: All of it.
        scheme: By which the client came.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    scheme: str = "http"


@dataclass(frozen=True)
class Told:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Neighbours:
    """The carriers that share a data folder with this one.

    Args:
        folder: The data folder.
        number: This one's.

    Attributes:
        number: As given.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self._notes = folder / "nodes"
        self.number = number
        self._server: Server | None = None
        self._own: Path | None = None
        self._sessions: dict[int, tuple[Path, aiohttp.ClientSession]] = {}

    async def open(self, app: ASGIApp) -> None:
        """Answer the others by `app` from now on. What a predecessor of this number left is removed.

        Raises:
            OSError, UsageError: There is no place for the socket or the note.
        """
        left = self._socket_of(self.number)
        if left is not None:
            _remove(left)
        # Not in the data folder: the name of a socket has at most 100 bytes or so, whatever the folder is called.
        self._own = Path(tempfile.mkdtemp(prefix="bothway-")) / "node.sock"
        self._server = Server(app, _refuse, path=self._own)
        try:
            await self._server.start()
            self._note()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Answer nobody, and ask nobody."""
        if self._own is not None:
            self._note_of(self.number).unlink(missing_ok=True)
        if self._server is not None:
            await self._server.stop(grace=0.5)
        if self._own is not None:
            _remove(self._own)
            self._own = None
        for _, session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def owner_of(self, call_id: str) -> int | None:
        """The number of the other carrier that has made the id of a call, if there is one; it may have been killed."""
        number = node_of(call_id)
        if number is None or number == self.number or not self._note_of(number).exists():
            return None
        return number

    def others(self) -> list[int]:
        """The numbers of all of them; some may have been killed."""
        found = [int(note.stem) for note in self._notes.glob("*.json") if note.stem.isdecimal()]
        return sorted(number for number in found if number != self.number)

    async def ask(self, number: int, asked: Asked) -> Told:
        """Hand a request to a carrier, and give its answer.

        Raises:
            NoNeighbourError: It could not be asked, or its answer did not come.
        """
        socket = self._socket_of(number)
        if socket is None:
            raise NoNeighbourError(f"worker {number} does not run", gone=True)
        headers = {name: value for name, value in asked.headers.items() if name.lower() not in _NOT_PASSED_ON}
        headers["x-forwarded-proto"] = asked.scheme
        try:
            session = await self._session(number, socket)
            async with session.request(
                asked.method,
                URL(f"http://neighbour{asked.target}", encoded=True),
                data=asked.body or None,
                headers=headers,
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
                allow_redirects=False,
            ) as response:
                body = await response.content.read(ANSWER_LIMIT + 1)
                while not response.content.at_eof() and len(body) <= ANSWER_LIMIT:
                    body += await response.content.read(ANSWER_LIMIT + 1 - len(body))
                if len(body) > ANSWER_LIMIT:
                    raise NoNeighbourError(f"the answer of worker {number} is too large", gone=False)
                told = {name: value for name, value in response.headers.items() if name.lower() not in _NOT_PASSED_ON}
                return Told(response.status, told, body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NoNeighbourError(f"worker {number} does not listen", gone=True) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NoNeighbourError(f"worker {number} did not answer: {type(error).__name__}", gone=False) from error

    async def _session(self, number: int, socket: Path) -> aiohttp.ClientSession:
        at, session = self._sessions.get(number, (None, None))
        if session is None or at != socket:
            if session is not None:  # of a carrier that has been killed, and runs again
                await session.close()
            session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(socket), limit=32),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(ANSWER_SECONDS, sock_connect=_CONNECT_SECONDS),
            )
            self._sessions[number] = socket, session
        return session

    def _note_of(self, number: int) -> Path:
        return self._notes / f"{number}.json"

    def _note(self) -> None:
        note = self._note_of(self.number)
        draft = note.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps({"socket": str(self._own), "pid": os.getpid()}), encoding="utf-8")
        draft.replace(note)

    def _socket_of(self, number: int) -> Path | None:
        try:
            return Path(json.loads(self._note_of(number).read_text(encoding="utf-8"))["socket"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _refuse(_: UpgradeRequest) -> Refusal:
    return Refusal(404, b"only REST requests are passed on\n")


def _remove(socket: Path) -> None:
    """Remove a socket and the folder that was made for it; whatever else is there stays."""
    try:
        if socket.name == "node.sock" and socket.parent.name.startswith("bothway-"):
            socket.unlink(missing_ok=True)
            socket.parent.rmdir()
    except OSError as error:
        logger.debug("the folder %s of a carrier's socket stays: %s", socket.parent, error)
