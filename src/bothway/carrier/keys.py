"""The data folder's key, and what is derived from it: tokens of sub-accounts, and signatures of recordings' URLs.

The tokens of main accounts come from the configuration, since callbacks are signed with them in clear. Those of
sub-accounts are made at run time and never stored: each is an HMAC (RFC 2104, SHA-256) of the sub-account's id and of a
generation, which is counted up to revoke it. Without the key nobody can make one; with it, every node of a data folder
makes the same.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
from base64 import urlsafe_b64encode
from pathlib import Path
from urllib.parse import urlencode

from bothway.errors import UsageError

__all__ = ["KEY_NAME", "Keys", "recording_path"]

KEY_NAME = "carrier.key"
"""The file in the data folder."""

_KEY_BYTES = 32

logger = logging.getLogger(__name__)


class Keys:
    """One key of a data folder.

    Args:
        key: 32 bytes that nobody else knows.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            raise UsageError(f"a key has {_KEY_BYTES} bytes, not {len(key)}")
        self._key = key

    @classmethod
    def load(cls, folder: Path | None) -> Keys:
        """The key of a data folder, made there with mode 0600 at first; without a folder, one for this process.

        Raises:
            UsageError: The file cannot be read or written, or holds no key.
        """
        if folder is None:
            return cls(secrets.token_bytes(_KEY_BYTES))
        path = folder / KEY_NAME
        try:
            if not path.exists():
                _make(path)
            if os.name == "posix" and path.stat().st_mode & 0o077:
                logger.warning("%s can be read by others than its owner: chmod 600 it", path)
            text = path.read_text(encoding="ascii").strip()
            return cls(bytes.fromhex(text))
        except OSError as error:
            raise UsageError(f"the key file {path} cannot be used: {error.strerror or error}") from None
        except ValueError:  # UnicodeDecodeError, or no hexadecimal digits
            raise UsageError(f"{path} holds no key: it is {_KEY_BYTES * 2} hexadecimal digits") from None

    def subaccount_token(self, auth_id: str, generation: int) -> str:
        """The token of a sub-account: 40 characters.

        Args:
            auth_id: Of the sub-account.
            generation: How often its token was renewed.
        """
        return urlsafe_b64encode(self._mac("subaccount", auth_id, str(generation))[:30]).decode()

    def sign_url(self, path: str, expires_at: float) -> str:
        """`path` with a query that lets whoever has it read it, until a moment.

        Args:
            path: Of a URL, without a query.
            expires_at: Unix time in seconds; the fraction is cut off.
        """
        expires = str(int(expires_at))
        return f"{path}?{urlencode({'Expires': expires, 'Signature': self._signature(path, expires)})}"

    def verify_url(self, path: str, expires: str, signature: str, now: float) -> bool:
        """Whether `sign_url` made this, and its time is not over; signatures are compared in constant time.

        Args:
            path: As it was asked for.
            expires: The query's `Expires`.
            signature: The query's `Signature`.
            now: Unix time in seconds.
        """
        right = hmac.compare_digest(self._signature(path, expires).encode(), signature.encode())
        # Checked second: what is signed is a number, since sign_url wrote it.
        return right and now < int(expires)

    def _signature(self, path: str, expires: str) -> str:
        return self._mac("url", path, expires).hex()

    def _mac(self, *parts: str) -> bytes:
        # Each part with its length before it, so that no two lists of parts give the same bytes.
        written = b"".join(b"%d:%s" % (len(raw := part.encode("utf-8", "surrogatepass")), raw) for part in parts)
        return hmac.new(self._key, written, hashlib.sha256).digest()


def recording_path(auth_id: str, recording_id: str, file_format: str) -> str:
    """Where the REST API serves a recording: behind the carrier's own URL this is its `RecordUrl` and `recording_url`.

    Args:
        auth_id: Of the main account.
        recording_id: Its UUID.
        file_format: `mp3` or `wav`.
    """
    return f"/v1/Account/{auth_id}/Recording/{recording_id}.{file_format}"


def _make(path: Path) -> None:
    """Write a new key, unless another process was faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{KEY_NAME}-{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_KEY_BYTES) + "\n")
        try:
            os.link(fresh, path)  # fails where a rename would overwrite
        except FileExistsError:
            pass  # another process made it: its key counts
    finally:
        fresh.unlink()
