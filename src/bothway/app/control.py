"""Control of a live call by the carrier's REST API (plivo-protocol.md, 5.1 and 5.5)."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING
from urllib.parse import quote

from bothway.errors import PeerError, UsageError

if TYPE_CHECKING:
    import aiohttp

__all__ = ["DEADLINE", "PlivoControl"]

DEADLINE = 10.0
"""Seconds for one request: twice what the official SDK waits."""


class PlivoControl:
    """The account's REST API.

    Args:
        api_url: Its base, such as `https://api.plivo.com/v1`.
        auth_id: The account.
        auth_token: Its token; it goes out in the `Authorization` header and nowhere else.
    """

    def __init__(self, api_url: str, auth_id: str, auth_token: str) -> None:
        self._api_url = api_url.rstrip("/")
        self._auth_id = auth_id
        self._auth_token = auth_token
        self._session: aiohttp.ClientSession | None = None

    async def hangup(self, call_id: str) -> None:
        """End a call; 404 says that it has ended already.

        Raises:
            UsageError: There is no auth id or no auth token.
            PeerError: The carrier answered anything else, or did not answer.
        """
        if not (self._auth_id and self._auth_token):
            missing = "PLIVO_AUTH_ID" if not self._auth_id else "PLIVO_AUTH_TOKEN"
            raise UsageError(f"hanging up goes by the carrier's REST API, which needs {missing}: it is not set")
        status = await self._delete(f"/Account/{quote(self._auth_id, safe='')}/Call/{quote(call_id, safe='')}/")
        if status not in (204, 404):
            hint = {401: ": the auth id and the auth token do not belong together"}.get(status, "")
            raise PeerError(f"the carrier answered {status} to the hang-up of call {call_id}{hint}")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _delete(self, path: str) -> int:
        # Imported when first needed: an HTTP client takes a tenth of a second, and many apps never hang up.
        import aiohttp

        if self._session is None:
            credentials = b64encode(f"{self._auth_id}:{self._auth_token}".encode()).decode("ascii")
            self._session = aiohttp.ClientSession(
                headers={"Authorization": f"Basic {credentials}"},
                timeout=aiohttp.ClientTimeout(total=DEADLINE),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        try:
            async with self._session.delete(self._api_url + path, allow_redirects=False) as response:
                return response.status
        except TimeoutError:
            raise PeerError(f"the carrier's REST API at {self._api_url} did not answer within {DEADLINE:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise PeerError(f"the carrier's REST API at {self._api_url} cannot be reached: {error}") from error
