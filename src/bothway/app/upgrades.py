"""Who may open a stream: every WebSocket upgrade is decided here."""

from __future__ import annotations

import time
from urllib.parse import parse_qsl, unquote

from bothway.app.call import CallControl, Parties
from bothway.app.config import Config
from bothway.app.live import LiveCalls
from bothway.app.receiver import CallHandler, CallReceiver, ClosingReceiver, Grant
from bothway.app.routes import AnswerRoute, Routes
from bothway.app.tokens import StreamToken, TokenError, read
from bothway.app.verify import SeenRequest, Verdict, check_upgrade
from bothway.runtime.duplex import CloseCode, Receiver, Refusal, UpgradeRequest
from bothway.runtime.logs import get_logger

__all__ = ["Upgrades", "below"]

_TRY_AGAIN_LATER = 1013  # registered with IANA after RFC 6455

log = get_logger(__name__)


def below(root: str, path: str) -> str:
    """The part of a path below the place where the app is mounted."""
    rest = path.removeprefix(root)
    return rest or "/" if rest[:1] in ("", "/") else path


class Upgrades:
    """Decides about upgrades.

    A peer that is refused is told `policy` and nothing more; the log says what was wrong, and who has to act.

    Args:
        config: The account.
        routes: Where streams may go.
        calls: Who is on the line.
        control: The carrier's REST API, for the calls.
    """

    def __init__(self, config: Config, routes: Routes, calls: LiveCalls, control: CallControl) -> None:
        self._config = config
        self._routes = routes
        self._calls = calls
        self._control = control

    def accept(self, request: UpgradeRequest, root: str = "") -> Receiver | Refusal:
        """Decide about an upgrade that came to one of the app's own paths.

        Args:
            request: The upgrade.
            root: Where the app is mounted.

        Raises:
            UsageError: Signatures shall be checked, and there is no auth token.
        """
        path = below(root, unquote(request.path))
        found = self._routes.find_stream(path)
        handler = self._routes.bare.get(path)
        if found is None and handler is None:
            return Refusal(404, b"no stream is served at this path\n")
        if self._calls.draining:
            return Refusal(503, b"this app is draining\n")
        if found is not None:
            return self._tokened(request, *found)
        assert handler is not None
        return self.accept_bare(request, handler)

    def accept_bare(self, request: UpgradeRequest, handler: CallHandler) -> Receiver | Refusal:
        """Decide about an upgrade without a token: the signature alone counts.

        Args:
            request: The upgrade.
            handler: What answers the call.

        Raises:
            UsageError: As `accept` does.
        """
        if self._calls.draining:
            return ClosingReceiver(_TRY_AGAIN_LATER, "draining")
        verdict = self._verdict(request)
        if verdict is not None and verdict.match is None:
            return self._refused(verdict.reason, verdict)
        # A signature that was made without the query leaves it to anybody to write there what he likes.
        trusted = verdict is None or verdict.covers_query
        query = dict(parse_qsl(request.query, keep_blank_values=True)) if trusted else {}
        grant = Grant(handler, None, Parties(query=query), app_url=self._config.public_url or "")
        return CallReceiver(grant, self._calls, self._control)

    def _tokened(self, request: UpgradeRequest, route: AnswerRoute, text: str) -> Receiver:
        verdict = self._verdict(request, hide=text)
        if verdict is not None and verdict.match is None:
            return self._refused(verdict.reason, verdict)
        try:
            token = read(text, self._config.secret, time.time(), StreamToken)
        except TokenError as error:
            return self._refused(f"its token is {error.fault}: {error}")
        if token.route != route.path:
            return self._refused(f"its token is for {token.route}, and it came to {route.path}")
        grant = Grant(
            route.handler,
            token.call_id,
            Parties(token.from_, token.to, token.direction, dict(token.query)),
            bidirectional=route.stream.bidirectional,
            app_url=token.app_url,
            secret=text,
        )
        return CallReceiver(grant, self._calls, self._control)

    def _verdict(self, request: UpgradeRequest, hide: str = "") -> Verdict | None:
        """What the signature is worth; None where signatures are not checked."""
        self._config.check()
        if not self._config.check_signatures:
            return None
        seen = SeenRequest("GET", request.scheme, request.path, request.query, request.headers)
        verdict = check_upgrade(seen, tokens=[self._config.auth_token], public_url=self._config.public_url, hide=hide)
        if verdict.match is not None:
            log.debug("a stream's signature is good", form=verdict.match.scheme_form, query_signed=verdict.covers_query)
        return verdict

    def _refused(self, why: str, verdict: Verdict | None = None) -> ClosingReceiver:
        self._calls.metrics.refused("stream").inc()
        log.warning("a stream is refused", reason=why, tried=verdict.tried if verdict is not None else ())
        return ClosingReceiver(CloseCode.POLICY, "policy")
