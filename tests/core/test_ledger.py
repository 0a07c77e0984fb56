from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.format import MULAW_8K
from bothway.core.ledger import MAX_UTTERANCES, Ledger
from bothway.core.playout import FrameClock, Playout
from bothway.errors import UsageError

STEP_MS = 5
FRAME_MS = 20


@dataclass
class Line:
    """An app's ledger and a carrier's playout, with a wire between that takes `up` and `down` milliseconds."""

    up: int
    down: int
    says_cleared: bool = True
    now: int = 0
    sent: int = 0  # milliseconds, by the app
    acked: int = 0
    to_carrier: deque[tuple[int, tuple[Any, ...]]] = field(default_factory=deque)
    to_app: deque[tuple[int, tuple[Any, ...]]] = field(default_factory=deque)
    ends: deque[tuple[str, float]] = field(default_factory=deque)  # of checkpoints at the carrier: audio before them
    padding: float = 0.0  # silence that filled frames, since the last acknowledgement was made
    error: float = 0.0  # what the ledger guessed wrongly at clears, all in all

    def __post_init__(self) -> None:
        self.ledger = Ledger()
        self.playout = Playout(MULAW_8K, cap_seconds=600)
        self.clock = FrameClock(0.0)

    @property
    def truth(self) -> float:
        """What has been released to the caller."""
        return self.playout.played_bytes / 8

    def do(self, what: str, detail: Any = None) -> None:
        now = self.now / 1000
        if what == "play":
            self.ledger.sent(detail, now)
            self.sent += detail
        elif what == "checkpoint":
            self.ledger.checkpoint_sent(detail)
        elif what == "clear":
            self.ledger.clear_sent(now)
        self.to_carrier.append((self.now + self.up, (what, detail)))

    def run(self, ms: int) -> None:
        for _ in range(0, ms, STEP_MS):
            self._step()
            self.now += STEP_MS

    def _step(self) -> None:
        now = self.now / 1000
        while self.to_carrier and self.to_carrier[0][0] <= self.now:
            self._carrier(*self.to_carrier.popleft()[1])
        first = self.clock.taken
        for frame in range(first, first + self.clock.take(now)):
            before = self.playout.played_bytes
            if self.playout.release(self.clock.due(frame)) is not None:
                self.padding += FRAME_MS - (self.playout.played_bytes - before) / 8
        self._acknowledge()
        while self.to_app and self.to_app[0][0] <= self.now:
            self._app(*self.to_app.popleft()[1])
        self.check()

    def _carrier(self, what: str, detail: Any) -> None:
        if what == "play":
            assert self.playout.play(b"\x55" * detail * 8)
        elif what == "checkpoint":
            before = (self.playout.played_bytes + self.playout.queued_bytes) / 8
            self.ends.append((detail, before))
            self.playout.checkpoint(detail, self.now / 1000)
            self._acknowledge()
        elif what == "clear":
            self.playout.clear()
            self.ends.clear()
            if self.says_cleared:
                self.to_app.append((self.now + self.down, ("cleared", self.truth)))

    def _acknowledge(self) -> None:
        for passed in self.playout.take_passed():
            name, before = self.ends.popleft()
            assert name == passed.name
            self.to_app.append((self.now + self.down, ("played", (name, before, self.padding))))
            self.padding = 0.0

    def _app(self, what: str, detail: Any) -> None:
        now = self.now / 1000
        if what == "played":
            name, before, _ = detail
            assert self.ledger.played(name, now)
            if self.says_cleared:
                assert self.ledger.heard_ms() == pytest.approx(before + self.error)
            self.acked += 1
        else:
            assert self.ledger.cleared(now)
            self.error = self.ledger.heard_ms() - detail

    def check(self) -> None:
        ledger = self.ledger
        heard = ledger.heard_ms()
        assert heard + ledger.cleared_ms + ledger.unplayed_ms == pytest.approx(ledger.sent_ms)
        assert ledger.sent_ms == self.sent
        assert min(heard, ledger.cleared_ms, ledger.unplayed_ms) >= 0
        estimate = ledger.heard_ms(self.now / 1000)
        assert heard - 1e-6 <= estimate <= ledger.sent_ms - ledger.cleared_ms + 1e-6
        on_its_way = sum(detail[2] for _, (what, detail) in self.to_app if what == "played")
        late = self.up + FRAME_MS + self.padding + on_its_way
        if self.says_cleared:
            assert estimate <= self.truth + self.error + late + 1e-6


THINGS = st.lists(
    st.tuples(st.just("play"), st.sampled_from([1, 15, 20, 30, 100, 250]) | st.integers(0, 900))
    | st.tuples(st.just("checkpoint"), st.sampled_from(["a", "b", "c"]))
    | st.tuples(st.just("clear"), st.none())
    | st.tuples(st.just("wait"), st.sampled_from([5, 20, 40, 100, 400, 1500])),
    max_size=25,
)
LATENCY = st.integers(0, 60).map(lambda steps: steps * STEP_MS)


def follow(line: Line, things: list[tuple[str, Any]]) -> None:
    for what, detail in things:
        if what == "wait":
            line.run(detail)
        else:
            line.do(what, detail)
            line.check()


@given(LATENCY, LATENCY, THINGS)
def test_the_ledger_follows_the_truth_by_no_more_than_the_latency(up: int, down: int, things: list[Any]) -> None:
    line = Line(up, down)
    follow(line, things)
    line.do("checkpoint", "end")
    line.run(up + down + int(line.playout.queued_ms) + sum(d for w, d in things if w == "play") + 100)
    assert line.ledger.unplayed_ms == 0
    assert line.ledger.unconfirmed_checkpoints == 0
    assert line.ledger.heard_ms() == pytest.approx(line.truth + line.error)


@given(LATENCY, LATENCY, THINGS)
def test_a_clear_misjudges_what_was_heard_by_no_more_than_the_round_trip(up: int, down: int, things: list[Any]) -> None:
    """One utterance with checkpoints, and one clear at the end."""
    line = Line(up, down)
    follow(line, [thing for thing in things if thing[0] != "clear"])
    padding = line.padding + sum(detail[2] for _, (what, detail) in line.to_app if what == "played")
    line.do("clear")
    line.run(up + down + 10)
    assert line.ledger.unplayed_ms == 0
    assert -(up + down + 2 * FRAME_MS) - 1e-6 <= line.error <= FRAME_MS + padding + up + 1e-6


@given(LATENCY, LATENCY, THINGS)
def test_a_carrier_that_never_says_cleared_is_followed_all_the_same(up: int, down: int, things: list[Any]) -> None:
    line = Line(up, down, says_cleared=False)
    for number, (what, detail) in enumerate(things):
        follow(line, [(what, f"{number}" if what == "checkpoint" else detail)])
    line.do("play", 40)
    line.do("checkpoint", "end")
    line.run(up + down + sum(d for w, d in things if w == "play") + 200)
    assert line.ledger.unplayed_ms == 0
    assert line.ledger.unconfirmed_checkpoints == 0


def test_an_acknowledgement_settles_all_before_it() -> None:
    ledger = Ledger()
    ledger.sent(1000, 10.0)
    ledger.checkpoint_sent("a")
    ledger.sent(500, 10.0)
    ledger.checkpoint_sent("b")
    assert ledger.unconfirmed_checkpoints == 2
    assert ledger.heard_ms() == 0
    assert ledger.heard_ms(10.4) == pytest.approx(400)
    assert ledger.played("a", 11.2)
    assert (ledger.heard_ms(), ledger.unplayed_ms) == (1000, 500)
    assert ledger.heard_ms(11.3) == pytest.approx(1100)
    assert ledger.heard_ms(60.0) == 1500
    assert ledger.played("b", 11.7)
    assert (ledger.heard_ms(), ledger.unplayed_ms, ledger.unconfirmed_checkpoints) == (1500, 0, 0)


def test_an_acknowledgement_of_an_unknown_or_used_name_is_none() -> None:
    ledger = Ledger()
    assert not ledger.played("a", 0.0)
    assert not ledger.cleared(0.0)
    ledger.sent(100, 0.0)
    ledger.checkpoint_sent("a")
    assert not ledger.played("b", 1.0)
    assert ledger.heard_ms() == 0
    assert ledger.played("a", 1.0)
    assert not ledger.played("a", 1.0)


def test_the_same_name_twice_is_acknowledged_in_order() -> None:
    ledger = Ledger()
    for _ in range(2):
        ledger.sent(100, 0.0)
        ledger.checkpoint_sent("same")
    assert ledger.played("same", 0.2)
    assert (ledger.heard_ms(), ledger.unconfirmed_checkpoints) == (100, 1)
    assert ledger.played("same", 0.3)
    assert ledger.heard_ms() == 200


def test_a_skipped_acknowledgement_is_made_good_by_the_next() -> None:
    ledger = Ledger()
    ledger.sent(100, 0.0)
    ledger.checkpoint_sent("a")
    ledger.sent(100, 0.0)
    ledger.checkpoint_sent("b")
    assert ledger.played("b", 1.0)
    assert (ledger.heard_ms(), ledger.unconfirmed_checkpoints) == (200, 0)
    assert not ledger.played("a", 1.0)


def test_an_acknowledgement_overtakes_a_clear() -> None:
    """The caller heard the first second while the clear was on its way."""
    ledger = Ledger()
    ledger.sent(1000, 0.0)
    ledger.checkpoint_sent("a")
    ledger.sent(1000, 0.0)
    ledger.checkpoint_sent("b")
    ledger.clear_sent(0.95)
    assert ledger.heard_ms(5.0) == pytest.approx(950)
    assert ledger.played("a", 1.05)
    assert ledger.heard_ms() == 1000
    assert ledger.cleared(1.1)
    assert (ledger.heard_ms(), ledger.cleared_ms, ledger.unplayed_ms) == (1000, 1000, 0)
    assert not ledger.played("b", 1.2)


def test_what_is_sent_behind_a_clear_counts_from_the_answer() -> None:
    ledger = Ledger()
    ledger.sent(1000, 0.0)
    ledger.clear_sent(0.5)
    ledger.sent(400, 0.6)
    assert ledger.heard_ms(0.9) == pytest.approx(500)
    assert ledger.cleared(1.0)
    assert (ledger.cleared_ms, ledger.unplayed_ms) == (500, 400)
    assert ledger.heard_ms(1.1) == pytest.approx(600)
    assert ledger.heard_ms(9.0) == pytest.approx(900)


def test_what_is_heard_behind_an_unanswered_clear_answers_it() -> None:
    ledger = Ledger()
    ledger.sent(1000, 0.0)
    ledger.checkpoint_sent("a")
    ledger.clear_sent(0.3)
    ledger.sent(500, 0.3)
    ledger.checkpoint_sent("b")
    assert ledger.played("b", 0.9)
    assert (ledger.heard_ms(), ledger.cleared_ms, ledger.unplayed_ms) == (800, 700, 0)
    assert not ledger.cleared(1.0)


def test_two_clears_are_answered_one_by_one() -> None:
    ledger = Ledger()
    ledger.sent(1000, 0.0)
    ledger.clear_sent(0.2)
    ledger.sent(1000, 0.2)
    ledger.clear_sent(0.4)
    assert ledger.cleared(0.5)
    assert (ledger.heard_ms(), ledger.cleared_ms, ledger.unplayed_ms) == (200, 800, 1000)
    assert ledger.cleared(0.6)
    assert (ledger.heard_ms(), ledger.cleared_ms, ledger.unplayed_ms) == (200, 1800, 0)
    assert not ledger.cleared(0.7)


def test_silence_between_two_sayings_is_not_taken_for_hearing() -> None:
    """Without any checkpoint: the second saying starts when it is sent, however long the first is over."""
    ledger = Ledger()
    ledger.sent(1000, 0.0)
    ledger.sent(1000, 10.0)
    assert ledger.heard_ms(10.0) == pytest.approx(1000)
    assert ledger.heard_ms(10.3) == pytest.approx(1300)
    assert ledger.unplayed_ms == 2000


def test_the_end_of_the_stream_settles_everything() -> None:
    ledger = Ledger()
    ledger.ended(0.0)
    ledger.sent(1000, 0.0)
    ledger.checkpoint_sent("a")
    ledger.clear_sent(0.3)
    ledger.sent(500, 0.3)
    ledger.ended(0.4)
    assert ledger.heard_ms() == pytest.approx(300)
    assert ledger.cleared_ms == pytest.approx(1200)
    assert ledger.unplayed_ms == 0
    assert ledger.unconfirmed_checkpoints == 0


def test_time_does_not_run_backwards() -> None:
    ledger = Ledger()
    ledger.sent(100, 5.0)
    with pytest.raises(UsageError, match="backwards"):
        ledger.heard_ms(4.0)


# In words.

MS_PER_CHARACTER = 10


def say(ledger: Ledger, text: str, cuts: list[int]) -> list[int]:
    """Send `text` at 10 ms a character with a checkpoint at each of `cuts` and at its end; gives those places in ms."""
    places = sorted({min(cut, len(text)) * MS_PER_CHARACTER for cut in cuts} | {len(text) * MS_PER_CHARACTER})
    at = 0
    for place in places:
        for part in (place - at) // 3, (place - at) - (place - at) // 3:
            ledger.sent(part, 0.0)
        ledger.checkpoint_sent(f"{text}@{place}")
        at = place
    return places


@given(
    st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=12),
    st.lists(st.integers(0, 100), max_size=8),
    st.data(),
)
def test_the_words_heard_are_those_whose_last_sample_was_played(
    words: list[str], cuts: list[int], data: st.DataObject
) -> None:
    text = " ".join(words)
    ledger = Ledger()
    utterance = ledger.begin(text)
    places = say(ledger, text, cuts)
    ledger.end()
    heard = 0
    for place in places[: data.draw(st.integers(0, len(places)))]:
        assert not utterance.settled
        assert ledger.played(f"{text}@{place}", place / 1000)
        heard = place
    complete = []
    end = -1
    for word in words:
        end += 1 + len(word)
        if end * MS_PER_CHARACTER <= heard:
            complete.append(word)
    assert ledger.heard_text() == utterance.heard_text == " ".join(complete)
    assert utterance.heard_ms == pytest.approx(heard)
    assert utterance.settled == (heard == places[-1])


@given(st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=12), st.floats(0, 1), st.integers(0, 3000))
def test_a_clear_leaves_no_word_that_was_not_finished(words: list[str], share: float, after: int) -> None:
    text = " ".join(words)
    ledger = Ledger()
    utterance = ledger.begin(text)
    ledger.sent(len(text) * MS_PER_CHARACTER, 0.0)
    ledger.end()
    at = share * len(text) * MS_PER_CHARACTER
    ledger.clear_sent(at / 1000)
    ledger.cleared((at + after) / 1000)
    assert utterance.settled
    assert utterance.heard_ms + utterance.cleared_ms == pytest.approx(utterance.sent_ms)
    heard = utterance.heard_text.split()
    assert heard == words[: len(heard)]
    assert len(" ".join(heard)) * MS_PER_CHARACTER <= at + 1e-3


def test_an_utterance_that_was_broken_off_is_not_heard_to_its_end() -> None:
    """The voice had made a second of four when the caller broke in: the caller cannot have heard it all."""
    ledger = Ledger()
    text = "It opens at nine, and on Sundays we are closed all day."
    utterance = ledger.begin(text)
    ledger.sent(1000, 0.0)
    ledger.checkpoint_sent("a")
    assert ledger.played("a", 1.0)
    assert (utterance.heard_text, utterance.settled) == ("It opens at", False)
    ledger.clear_sent(1.0)
    ledger.cleared(1.1)
    ledger.end()
    assert utterance.settled
    assert (utterance.ended, utterance.complete) == (True, False)
    assert ledger.heard_text() == "It opens at"


def test_utterances_are_told_apart() -> None:
    ledger = Ledger()
    first = ledger.begin("one two")
    ledger.sent(700, 0.0)
    ledger.checkpoint_sent("first")
    second = ledger.begin("three four")
    ledger.sent(1000, 0.0)
    ledger.end()
    ledger.sent(300, 0.0)  # a jingle
    ledger.checkpoint_sent("all")
    assert first.complete
    ledger.played("first", 0.7)
    assert (first.heard_text, second.heard_text, first.settled, second.settled) == ("one two", "", True, False)
    ledger.clear_sent(1.25)
    ledger.cleared(1.3)
    assert ledger.heard_text() == "one two three"
    assert second.heard_ms == pytest.approx(550)
    assert second.cleared_ms == pytest.approx(450)


def test_an_utterance_of_no_audio_was_not_heard() -> None:
    ledger = Ledger()
    utterance = ledger.begin("nothing came of it")
    ledger.end()
    assert utterance.heard_text == ledger.heard_text() == ""
    assert utterance.settled
    ledger.end()


def test_old_utterances_are_forgotten_and_the_totals_are_not() -> None:
    ledger = Ledger()
    for number in range(MAX_UTTERANCES + 5):
        ledger.begin(f"u{number}")
        ledger.sent(10, 0.0)
        ledger.end()
    assert len(ledger.utterances) == MAX_UTTERANCES
    assert ledger.utterances[0].text == "u5"
    assert ledger.sent_ms == 10 * (MAX_UTTERANCES + 5)
