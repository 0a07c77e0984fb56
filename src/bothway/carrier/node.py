"""What all calls of one carrier process share."""

from __future__ import annotations

import ipaddress
import random
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from bothway.carrier.config import Account, Config
from bothway.carrier.mp3 import Mp3Worker
from bothway.carrier.node_slot import MOST_NODES
from bothway.carrier.recordings import Recordings
from bothway.carrier.store.delivery import Delivery
from bothway.carrier.store.store import Store
from bothway.carrier.ticker import Ticker
from bothway.carrier.writer import Writer
from bothway.core.profile import Profile
from bothway.errors import PeerError
from bothway.runtime.duplex import Connect
from bothway.runtime.duplex_picows import connect
from bothway.runtime.http import FetchError, FetchReason, HttpRequester, is_public
from bothway.runtime.metrics import Metrics
from bothway.runtime.tasks import Tasks
from bothway.speech.protocols import SpeechToText, TextToSpeech
from bothway.wire.signature import Nonces

__all__ = ["Ids", "Node", "PrivateAddressError", "fetch_outcome", "node_of"]


class PrivateAddressError(PeerError):
    """A stream's host is in a private network, and streams may not go there. To try again would be in vain."""


_OUTCOMES: dict[FetchReason, str] = {
    "connect": "unreachable",
    "timeout": "timeout",
    "status": "status",
    "redirects": "invalid",
    "private": "refused",
    "too-large": "invalid",
    "invalid-url": "refused",
    "broken": "invalid",
}


def fetch_outcome(error: FetchError) -> str:
    """The metrics' word for a request that failed."""
    return _OUTCOMES[error.reason]


def node_of(call_id: str) -> int | None:
    """The number of the node that made a UUID, from 1, as far as it is one that a node made; None if it is no UUID."""
    try:
        return uuid.UUID(call_id).int & 0xFF or MOST_NODES
    except ValueError:
        return None


class Ids:
    """Makes the ids and nonces of one process; with a seed, the same ones every time.

    Args:
        seed: For tests.
        number: Of the node among those of its data folder, 1 to `MOST_NODES`: every UUID carries it, in the last byte.
    """

    def __init__(self, seed: int | None = None, number: int = 1) -> None:
        self._random: random.Random = random.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311
        self._number = number & 0xFF

    def uuid(self) -> str:
        """A random UUID (RFC 9562, version 4: the official SDKs check version and variant); see `node_of`."""
        return str(uuid.UUID(int=self._random.getrandbits(128) & ~0xFF | self._number, version=4))

    def belong_to(self, number: int) -> None:
        """The node has this number from now on."""
        self._number = number & 0xFF

    def nonce(self) -> str:
        """20 decimal digits (plivo-protocol.md, 6.1)."""
        return f"{self._random.randrange(10**20):020d}"

    def nonces(self) -> Nonces:
        """The two nonces of a webhook."""
        return Nonces(self.nonce(), self.nonce())


@dataclass
class Node:
    """One carrier process.

    Attributes:
        profile: What it does where sources disagree.
        config: Its accounts, applications and numbers.
        account: The account that calls without an application of their own belong to.
        http: Fetches documents and calls callbacks.
        voice: Says `Speak`.
        ears: Recognise speech for `GetInput`; None where nothing does.
        ticker: Moves all audio.
        writer: Writes all files.
        metrics: Counts.
        tasks: Owns what outlives a call.
        ids: Makes ids.
        mp3: Reads the MP3 files of `Play`.
        folder: Where evidence goes; None keeps none.
        record_audio: Whether calls are recorded.
        allow_private: Whether streams may go to private networks.
        connect: Opens streams.
        name: Of this node among those that share the records.
        store: The records.
        recordings: Their files, and their URLs.
    """

    profile: Profile
    config: Config
    account: Account
    http: HttpRequester
    voice: TextToSpeech
    ticker: Ticker
    writer: Writer
    metrics: Metrics
    tasks: Tasks
    store: Store
    recordings: Recordings
    delivery: Delivery
    name: str = "1"
    ids: Ids = field(default_factory=Ids)
    mp3: Mp3Worker = field(default_factory=Mp3Worker)
    folder: Path | None = None
    record_audio: bool = False
    allow_private: bool = False
    ears: SpeechToText | None = None
    connect: Connect = connect

    def main_token(self, account: Account) -> str:
        """The token of the account's main account: its own, if it is one."""
        if account.parent is None:
            return account.auth_token
        main = next((known for known in (self.account, *self.config.accounts) if known.auth_id == account.parent), None)
        return (main or account).auth_token

    def check_address(self, ip: str) -> None:
        """Refuse to open a stream into a private network, unless that is allowed.

        Raises:
            PrivateAddressError: It is one.
        """
        # An IPv6 address may carry the name of an interface behind a percent sign: no such address is public.
        if not self.allow_private and ("%" in ip or not is_public(ipaddress.ip_address(ip))):
            raise PrivateAddressError("the stream's address is in a private network, where streams may not go")
