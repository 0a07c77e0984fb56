"""What Bothway asks of a speech provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from bothway.audio.format import AudioFormat

__all__ = ["TextToSpeech"]


class TextToSpeech(Protocol):
    """A voice: text in, audio out.

    One voice serves many calls at once. Its audio comes as fast as the provider makes it; pacing is playout's matter.
    """

    @property
    def format(self) -> AudioFormat:
        """What the bytes of `synthesize` mean; the same for the life of the voice."""
        ...

    def synthesize(self, text: str, *, voice: str = "WOMAN", language: str = "en-US") -> AsyncGenerator[bytes]:
        """Say `text`: chunks of audio in `format`, each a whole number of samples, the first as early as possible.

        Closing the generator (`aclose`) gives up the rest.

        Args:
            text: What to say. SSML if it begins with `<speak`, otherwise read as it stands.
            voice: WOMAN, MAN, or a name that the provider knows (plivo-protocol.md, 7.3 Speak).
            language: A language tag such as en-US.

        Raises:
            UsageError: The text is longer than the provider takes, or the voice is closed.
            ProviderError: The provider failed; `retryable` says whether the same text may work later.
        """
        ...

    async def close(self) -> None:
        """End what the voice holds: processes, sockets, tasks. What is being said fails. A second call does nothing."""
        ...
