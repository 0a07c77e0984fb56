"""Every error says whose fault it is.

`UsageError` is ours to raise at the code that called us; `PeerError` reports what the other end of a wire did;
`ProviderError` reports an AI vendor, and says whether trying again may help.
"""

from __future__ import annotations

__all__ = ["BothwayError", "PeerError", "ProviderError", "UsageError"]


class BothwayError(Exception):
    """The root of every error that Bothway raises on purpose."""


class UsageError(BothwayError):
    """The caller of this API did something that cannot work: a wrong argument, or a call in the wrong state."""


class PeerError(BothwayError):
    """The other end of a wire broke its contract, or could not be reached."""


class ProviderError(BothwayError):
    """An AI vendor failed.

    Args:
        message: What happened, as a sentence, without secrets.
        retryable: Whether the same request may succeed later (an overload, a time-out), or never will (a bad key).
    """

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable
