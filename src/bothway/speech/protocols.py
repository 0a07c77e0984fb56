"""What Bothway asks of a speech provider."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from bothway.audio.format import AudioFormat

__all__ = ["SpeechToText", "TextToSpeech", "Transcript", "Transcription"]


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


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a recogniser makes of one stretch of speech, as far as it knows.

    Attributes:
        text: The words of this stretch. They replace those of the transcript before, unless that was `final`; they may
            be none, when there is speech and no word is known, or when what was taken for speech was none.
        final: Whether they stay. The next transcript is of the next stretch.
        utterance_over: Whether the speaker seems to have said all: what a turn goes by. Only with `final`.
        confidence: How sure the provider is of the words, from 0 to 1; 1 where it does not say. Of a `final` one.
        stability: How likely it is that the words stay, from 0 to 1; 0.5 where it does not say, 1 of a `final` one.
        start_ms: Where the stretch begins, in milliseconds of the audio fed; None where the provider does not say.
        end_ms: Where what `text` tells of ends, likewise: what was fed since is the provider's delay.
    """

    text: str
    final: bool = False
    utterance_over: bool = False
    confidence: float = 1.0
    stability: float = 0.5
    start_ms: float | None = None
    end_ms: float | None = None


class Transcription(Protocol):
    """One line that is being listened to, from the first `feed` on."""

    def feed(self, l16: bytes) -> None:
        """The next stretch of the line, silence included: it is what a provider counts time by.

        It never waits. What a provider that is connecting, or is slow, has not taken yet is kept, up to a bound of the
        provider's own; when that is passed, `transcripts` raises. After `finish` or `close` it does nothing.

        Args:
            l16: Audio of any length, as L16 at the rate asked for; 20 ms at a time on a call.

        Raises:
            UsageError: `l16` is not a whole number of samples; nothing was taken.
        """

    def transcripts(self) -> AsyncGenerator[Transcript]:
        """What is said, as it is understood; read once. It ends behind the last one after `finish`, or with `close`.

        Raises:
            UsageError: The provider cannot do what was asked for, such as the language; or it was read before.
            ProviderError: The provider failed; `retryable` says whether a new transcription may work.
        """
        ...

    def finish(self) -> None:
        """The line has ended: what is left to be understood follows in `transcripts`, which then ends."""

    async def close(self) -> None:
        """Let go of the line at once; what was not understood yet is lost. A second call does nothing."""
        ...


class SpeechToText(Protocol):
    """A recogniser: audio in, words out as they are said. One recogniser serves many lines at once."""

    def transcribe(
        self,
        rate: int = 8000,
        *,
        language: str = "en-US",
        hints: Sequence[str] = (),
        model: str = "default",
        profanity_filter: bool = False,
    ) -> Transcription:
        """Listen to a line. It is connected to in the background; what fails there, `transcripts` raises.

        Args:
            rate: Samples a second of what is fed: 8000, 16000 or 24000. A provider that wants another resamples.
            language: A language tag such as en-US.
            hints: Words and phrases that are likely to be said.
            model: `default`, `command_and_search` for short orders, `phone_call` (plivo-protocol.md, 7.3 GetInput), or
                a name that the provider knows. A provider without such a model takes its own.
            profanity_filter: Whether swear words are to be masked.

        Raises:
            UsageError: Another rate, or the recogniser is closed.
        """
        ...

    async def close(self) -> None:
        """End what the recogniser holds; transcriptions that still run fail. A second call does nothing."""
        ...
