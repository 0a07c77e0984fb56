"""The offline voice: espeak-ng, in a process of its own (dependencies.md, section F).

The library is under the GPL-3 and is never loaded into this process. One worker is started with the first text and
lives until `close`; should it die, the next text starts another. It makes a minute of speech in half a second, so texts
simply wait for each other, in order.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from bothway.audio.format import AudioFormat, Encoding
from bothway.errors import ProviderError, UsageError
from bothway.runtime.logs import get_logger
from bothway.runtime.worker_process import StrangeReplyError, WorkerProcess
from bothway.speech.providers.espeak_worker import (
    AUDIO,
    CHUNK_MS,
    END,
    FAILED,
    MAX_AUDIO_S,
    REPLY_HEAD,
    request_message,
)

__all__ = ["LANGUAGES", "MAX_TEXT", "EspeakVoice"]

MAX_TEXT = 3000
"""The most characters of one text (plivo-protocol.md, section 9, Polly Speak)."""

LANGUAGES = {
    "da-DK": "da",
    "nl-NL": "nl",
    "en-US": "en-us",
    "en-GB": "en",
    "en-AU": "en",
    "fr-FR": "fr",
    "fr-CA": "fr",
    "de-DE": "de",
    "it-IT": "it",
    "pl-PL": "pl",
    "pt-PT": "pt",
    "pt-BR": "pt-br",
    "ru-RU": "ru",
    "es-ES": "es",
    "es-US": "es-419",
    "sv-SE": "sv",
}
"""The languages of WOMAN and MAN (plivo-protocol.md, 7.3 Speak), and the espeak-ng voice that is nearest to each."""

_DEFAULT_LANGUAGE = "en-US"
_VARIANTS = {"WOMAN": "+f2", "MAN": "+m3"}

_RATES = (8000, 16000)
_DEADLINE_S = 10.0
_MAX_WAITING = 64
_GRACE_S = 1.0
# What the worker sends for one text, at most: its audio, a rounding at either end, and the word that ends it.
_MAX_CHUNKS = MAX_AUDIO_S * 1000 // CHUNK_MS + 64
_MAX_MESSAGE = 1 << 16

# The SSML of Speak (plivo-protocol.md, 7.3); everything else is left out, `<audio>` above all.
_SSML_TAGS = frozenset(["speak", "break", "emphasis", "lang", "p", "phoneme", "prosody", "s", "say-as", "sub", "w"])
_TAG = re.compile(r"<!--.*?-->|<[^<>]*>", re.DOTALL)
_TAG_NAME = re.compile(r"</?\s*([\w:-]+)")
# espeak-ng takes commands between the words after a 0x01, and stops at a 0x00.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

_log = get_logger(__name__)


@dataclass
class _Request:
    message: bytes
    reply: asyncio.Queue[bytes | ProviderError | None] = field(default_factory=lambda: asyncio.Queue(_MAX_CHUNKS))
    is_abandoned: bool = False


class EspeakVoice:
    """A `TextToSpeech` of espeak-ng. The same text, voice and language give the same bytes every time.

    Args:
        rate: Samples a second of the L16 that it gives: 8000 or 16000.
        deadline_s: How long the worker may be silent in the middle of a text before it is taken for hung, in seconds.
        max_waiting: How many texts may wait for their turn.
        command: The worker's program and arguments; tests put others in its place.

    Raises:
        UsageError: Another rate.
    """

    def __init__(
        self,
        *,
        rate: int = 16000,
        deadline_s: float = _DEADLINE_S,
        max_waiting: int = _MAX_WAITING,
        command: Sequence[str] | None = None,
    ) -> None:
        if rate not in _RATES:
            raise UsageError(f"the offline voice speaks at 8000 or 16000 samples a second, not at {rate}")
        self._format = AudioFormat(Encoding.L16, rate)
        self._deadline_s = deadline_s
        # -P: what lies in the current folder must not stand in for a module of the worker's.
        command = command or (sys.executable, "-P", "-m", "bothway.speech.providers.espeak_worker", str(rate))
        self._waiting: asyncio.Queue[_Request] = asyncio.Queue(max_waiting)
        self._task: asyncio.Task[None] | None = None
        self._worker = WorkerProcess(
            command, head=REPLY_HEAD, kinds=frozenset({AUDIO, END, FAILED}), max_message=_MAX_MESSAGE
        )
        self._is_closed = False

    @property
    def format(self) -> AudioFormat:
        """L16 at the rate asked for."""
        return self._format

    @property
    def worker_pid(self) -> int | None:
        """The process id of the worker, once the first text has started it."""
        return self._worker.pid

    def synthesize(self, text: str, *, voice: str = "WOMAN", language: str = "en-US") -> AsyncGenerator[bytes]:
        """Say `text`, in chunks of at most 200 ms; see `TextToSpeech`.

        A voice other than WOMAN and MAN is read by WOMAN; a language that is not in `LANGUAGES` by its nearest, or by
        en-US. Each is logged.

        Raises:
            UsageError: More than `MAX_TEXT` characters, or the voice is closed.
            ProviderError: Retryable: the worker died or hung, or too many texts are waiting. Not retryable: it cannot
                run at all, or the text makes more than ten minutes of audio.
        """
        if len(text) > MAX_TEXT:
            raise UsageError(f"a text of {len(text)} characters is too long to say: {MAX_TEXT} are the most")
        if self._is_closed:
            raise UsageError("the offline voice is closed")
        ssml = text.lstrip().startswith("<speak")
        said = _CONTROLS.sub(" ", _allowed_ssml(text) if ssml else text)
        return self._audio(
            _Request(request_message(said, _espeak_voice(voice, language), ssml=ssml)), bool(said.strip())
        )

    async def close(self) -> None:
        """End the worker. Texts that are being said, or wait, fail."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._worker.end()

    async def _audio(self, request: _Request, has_words: bool) -> AsyncGenerator[bytes]:
        if not has_words:
            return
        if self._is_closed:
            raise UsageError("the offline voice is closed")
        try:
            self._waiting.put_nowait(request)
        except asyncio.QueueFull:
            raise ProviderError(
                f"the offline voice has {self._waiting.maxsize} texts waiting, and takes no more", retryable=True
            ) from None
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name="espeak voice")
            self._task.add_done_callback(self._on_task_done)
        try:
            while (item := await request.reply.get()) is not None:
                if isinstance(item, ProviderError):
                    raise item
                yield item
        finally:
            request.is_abandoned = True

    async def _work(self) -> None:
        request: _Request | None = None
        try:
            while True:
                request = await self._waiting.get()
                if not request.is_abandoned:
                    await self._serve(request)
                request = None
        finally:
            # Nobody may wait for a task that is no more.
            if request:
                _end(request, ProviderError("the offline voice was closed", retryable=False))
            while not self._waiting.empty():
                _end(self._waiting.get_nowait(), ProviderError("the offline voice was closed", retryable=False))

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()):
            _log.error("the offline voice's task failed; the next text starts another", exc_info=error)

    async def _serve(self, request: _Request) -> None:
        """Have one text said; whatever befalls the worker befalls this text alone."""
        try:
            await self._say(request)
        except ProviderError as error:
            _end(request, error)
        except StrangeReplyError as error:
            _end(request, ProviderError(f"espeak failed: {error}", retryable=True))
        except TimeoutError:
            await self._worker.end()
            _end(request, ProviderError(f"the espeak worker was silent for {self._deadline_s:g} s", retryable=True))
        except (asyncio.IncompleteReadError, ConnectionError):
            code = await self._worker.end(grace_s=_GRACE_S)
            _end(request, ProviderError(f"the espeak worker died with code {code}", retryable=True))
        except OSError as error:
            _end(request, ProviderError(f"the espeak worker could not be started: {error}", retryable=False))

    async def _say(self, request: _Request) -> None:
        await self._worker.send(request.message, seconds=self._deadline_s)
        while True:
            kind, content = await self._worker.receive(seconds=self._deadline_s)
            if kind == AUDIO:
                # A reply that nobody wants any more is read to its end all the same: the next one lies behind it.
                if not request.is_abandoned:
                    request.reply.put_nowait(content)
                continue
            if kind == FAILED:
                raise ProviderError(f"espeak failed: {content.decode(errors='replace')}", retryable=False)
            _end(request, None)
            return


def _end(request: _Request, how: ProviderError | None) -> None:
    if not request.is_abandoned:
        request.reply.put_nowait(how)


def _espeak_voice(voice: str, language: str) -> str:
    """The espeak-ng voice for a voice and a language of Speak."""
    variant = _VARIANTS.get(voice.upper())
    if variant is None:
        _log.info("the offline voice has no such voice: WOMAN reads it", voice=voice)
        variant = _VARIANTS["WOMAN"]
    wanted = language.replace("_", "-").lower()
    for tag, name in LANGUAGES.items():
        if tag.lower() == wanted:
            return name + variant
    primary = wanted.partition("-")[0]
    near = next((tag for tag in LANGUAGES if tag.lower().partition("-")[0] == primary), _DEFAULT_LANGUAGE)
    _log.info("the offline voice does not speak this language", language=language, spoken=near)
    return LANGUAGES[near] + variant


def _allowed_ssml(text: str) -> str:
    """SSML with the tags of Speak alone, and every other `<` and `>` as text."""
    parts = []
    at = 0
    for tag in _TAG.finditer(text):
        parts.append(_escaped(text[at : tag.start()]))
        name = _TAG_NAME.match(tag[0])
        parts.append(tag[0] if name and name[1].lower() in _SSML_TAGS else " ")
        at = tag.end()
    parts.append(_escaped(text[at:]))
    return "".join(parts)


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;")
