"""The scripted caller against apps that are a few lines: every step to the frame, every way to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothway.audio.format import L16_8K, L16_16K, MULAW_8K, AudioFormat
from bothway.audio.tones import tone
from bothway.audio.transcode import from_l16
from bothway.carrier.script import HangUp, Hear, Interrupt, Play, Press, Rules, Say, Script, Step, Wait
from bothway.carrier.scripted_caller import CallerEvent, CallResult, Outcome, ScriptedCaller, Turn
from bothway.errors import UsageError
from bothway.wire.leg import Ended

FMT = MULAW_8K
QUIET = FMT.silent_frame
LOUD = from_l16(tone(440, 20, 8000), FMT.encoding)
WORDS = bytes(range(1, 161)) + bytes(range(81, 161)) * 2 + b"\x11" * 60  # 2 frames and 60 bytes: 3 frames
OK = Outcome(ok=True)


def a_caller(*steps: Step, rules: Rules | None = None, fmt: AudioFormat = FMT, **options: str) -> ScriptedCaller:
    script = Script(steps, rules or Rules(), **options)  # type: ignore[arg-type]
    return ScriptedCaller(script, fmt, {words.clip: WORDS for words in script.clips})


def hear(caller: ScriptedCaller, frames: Iterable[bytes]) -> list[Turn]:
    turns = []
    for frame in frames:
        turns.append(caller.hear(frame))
        if turns[-1].hang_up:
            break
    return turns


def app(*pattern: tuple[bytes, int]) -> list[bytes]:
    """What an app says: frames, each for so many milliseconds."""
    return [frame for frame, ms in pattern for _ in range(ms // 20)]


def kinds(caller: ScriptedCaller) -> list[tuple[int, str]]:
    return [(event.ms, event.kind) for event in caller.events()]


def test_words_begin_with_the_first_frame_and_end_padded() -> None:
    caller = a_caller(Say("hello"))
    turns = hear(caller, [QUIET] * 10)
    said = b"".join(turn.frame for turn in turns[:3])
    assert said == WORDS + b"\xff" * (480 - len(WORDS))
    assert turns[3:] == [Turn(QUIET, hang_up=True)]
    assert caller.outcome == OK
    assert caller.events() == [CallerEvent(0, "said", "say 'hello'"), CallerEvent(60, "hung_up")]


@pytest.mark.parametrize("fmt", [MULAW_8K, L16_8K, L16_16K])
def test_an_echo_comes_back_at_a_constant_delay(fmt: AudioFormat) -> None:
    audio = from_l16(tone([300, 700], 1000, fmt.rate), fmt.encoding)
    script = Script.for_wav("speech.wav")
    caller = ScriptedCaller(script, fmt, {Play("speech.wav").clip: audio})
    delay = [fmt.silent_frame] * 7
    left, right = bytearray(), bytearray()
    for _ in range(400):
        heard = delay.pop(0)
        turn = caller.hear(heard)
        if turn.hang_up:
            break
        delay.append(turn.frame)
        left += turn.frame
        right += heard
    shift = 7 * fmt.frame_bytes
    assert right[shift:] == left[:-shift]
    assert left[: len(audio)] == audio
    assert caller.outcome == OK
    # 1 s and 140 ms of echo, then 3 s of silence.
    assert abs(caller.heard_ms - 4160) <= 40


def test_a_wait_lasts_to_the_frame() -> None:
    for ms, frames in ((0, 0), (1, 1), (20, 1), (1500, 75)):
        assert len(hear(a_caller(Wait(ms)), [QUIET] * 100)) == frames + 1


def test_keys_are_pressed_one_at_a_time() -> None:
    caller = a_caller(Press("12#", gap_ms=100), Press("9"))
    turns = hear(caller, [QUIET] * 50)
    assert [(place, turn.digits) for place, turn in enumerate(turns) if turn.digits] == [
        (0, ("1",)),
        (5, ("2",)),
        (10, ("#",)),
        (11, ("9",)),
    ]
    assert {turn.frame for turn in turns} == {QUIET}
    assert caller.events() == [
        CallerEvent(0, "pressed", "1"),
        CallerEvent(100, "pressed", "2"),
        CallerEvent(200, "pressed", "#"),
        CallerEvent(220, "pressed", "9"),
        CallerEvent(240, "hung_up"),
    ]


def test_silence_wants_speech_first() -> None:
    caller = a_caller(Hear("silence", 700), Say("now"))
    turns = hear(caller, app((QUIET, 2000), (LOUD, 1000), (QUIET, 2000)))
    spoke_at = next(place for place, turn in enumerate(turns) if turn.frame != QUIET)
    # The frame that completes 700 ms of silence is answered with words.
    assert spoke_at * 20 == 3000 + 700 - 20
    assert kinds(caller) == [
        (2000, "heard_speech"),
        (3000, "heard_silence"),
        (3680, "said"),
        (3740, "hung_up"),
    ]


def test_speech_that_goes_on_when_the_step_begins_counts() -> None:
    caller = a_caller(Wait(600), Hear("silence", 400))
    hear(caller, app((LOUD, 800), (QUIET, 2000)))
    assert kinds(caller)[-1] == (1180, "hung_up")


def test_speech_that_was_over_before_does_not() -> None:
    caller = a_caller(Wait(2000), Hear("silence", 400, within_ms=1000))
    hear(caller, app((LOUD, 800), (QUIET, 5000)))
    assert caller.outcome == Outcome(ok=False, reason="step 2 of 2 (hear silence for 0.4 s within 1 s) timed out")
    assert kinds(caller)[-2:] == [(3000, "timed_out"), (3000, "hung_up")]


def test_a_pause_inside_an_utterance_is_no_silence() -> None:
    caller = a_caller(Hear("silence", 700))
    hear(caller, app((LOUD, 400), (QUIET, 240), (LOUD, 400), (QUIET, 600), (LOUD, 400), (QUIET, 2000)))
    assert kinds(caller) == [
        (0, "heard_speech"),
        (1040, "heard_silence"),
        (1640, "heard_speech"),
        (2040, "heard_silence"),
        (2720, "hung_up"),
    ]


@pytest.mark.parametrize(("for_ms", "at_ms"), [(0, 520), (40, 520), (300, 780)])
def test_speech_is_heard_once_it_lasted(for_ms: int, at_ms: int) -> None:
    caller = a_caller(Hear("speech", for_ms))
    turns = hear(caller, app((QUIET, 500), (LOUD, 1000)))
    assert (len(turns) - 1) * 20 == at_ms


def test_a_click_is_no_speech() -> None:
    caller = a_caller(Hear("speech", within_ms=1000))
    hear(caller, app((QUIET, 500), (LOUD, 20), (QUIET, 2000)))
    assert caller.outcome is not None
    assert not caller.outcome.ok


def test_a_barge_in_comes_while_the_app_speaks() -> None:
    caller = a_caller(Interrupt(Say("wait"), after_ms=800), Hear("silence", 300))
    turns = hear(caller, app((QUIET, 300), (LOUD, 1300), (QUIET, 2000)))
    spoke_at = [place * 20 for place, turn in enumerate(turns) if turn.frame != QUIET]
    assert spoke_at == [1080, 1100, 1120]
    assert caller.events() == [
        CallerEvent(300, "heard_speech"),
        CallerEvent(1080, "interrupted", "say 'wait'"),
        CallerEvent(1600, "heard_silence"),
        CallerEvent(1880, "hung_up"),
    ]


def test_a_barge_in_waits_for_an_utterance_that_is_long_enough() -> None:
    caller = a_caller(Interrupt(Say("wait"), after_ms=800))
    hear(caller, app((LOUD, 600), (QUIET, 600), (LOUD, 2000)))
    assert (1980, "interrupted") in kinds(caller)


def test_a_time_out_fails_and_hangs_up() -> None:
    caller = a_caller(Hear("speech", within_ms=500), Say("never"))
    turns = hear(caller, [QUIET] * 100)
    assert len(turns) == 26
    assert turns[-1].hang_up
    assert caller.outcome == Outcome(ok=False, reason="step 1 of 2 (hear speech within 0.5 s) timed out")
    assert caller.hear(QUIET) == Turn(QUIET)


def test_a_time_out_may_be_passed_over() -> None:
    caller = a_caller(
        Hear("speech", within_ms=500), Interrupt(Say("no"), within_ms=100), Say("yes"), on_timeout="continue"
    )
    hear(caller, [QUIET] * 100)
    assert caller.outcome == OK
    assert kinds(caller) == [(500, "timed_out"), (600, "timed_out"), (600, "said"), (660, "hung_up")]


def test_hang_up_leaves_the_rest_undone() -> None:
    caller = a_caller(HangUp(), Say("never"))
    assert hear(caller, [QUIET]) == [Turn(QUIET, hang_up=True)]
    assert caller.outcome == OK


@pytest.mark.parametrize(("on_timeout", "ok"), [("fail", False), ("continue", True)])
def test_a_call_has_a_longest_time(on_timeout: str, ok: bool) -> None:
    caller = a_caller(Wait(60_000), rules=Rules(2000), on_timeout=on_timeout)
    assert len(hear(caller, [LOUD] * 500)) == 101
    assert caller.outcome is not None
    assert caller.outcome.ok is ok
    assert ok or caller.outcome.reason == "the rule hang_up_after 2 s ended the call during step 1 of 1 (wait 60 s)"
    assert caller.events()[-1] == CallerEvent(2000, "hung_up", "by the rule hang_up_after 2 s")


def test_silence_of_both_sides_ends_a_call_where_a_rule_says_so() -> None:
    rules = Rules(hang_up_when_silent_ms=1000)
    caller = a_caller(Wait(500), Say("hello"), Hear("hang_up"), rules=rules, on_timeout="continue")
    hear(caller, app((QUIET, 900), (LOUD, 3000), (QUIET, 5000)))
    assert kinds(caller)[-1] == (4900, "hung_up")
    caller = a_caller(Wait(500), Say("hello"), Hear("hang_up"), rules=rules, on_timeout="continue")
    hear(caller, [QUIET] * 500)
    assert kinds(caller)[-1] == (1560, "hung_up")


@pytest.mark.parametrize(
    ("steps", "said", "ok"),
    [
        ((Hear("hang_up"),), [(QUIET, 100)], True),
        ((Hear("hang_up"), HangUp()), [(QUIET, 100)], True),
        ((Wait(9000),), [(QUIET, 100)], True),
        ((Say("hello"),), [(QUIET, 20)], False),
        ((Hear("silence", 700),), [(LOUD, 500)], True),
        ((Hear("silence", 700), Wait(100)), [(LOUD, 500), (QUIET, 400)], True),
        ((Hear("silence", 700), Press("1")), [(LOUD, 500)], False),
        ((Hear("silence", 700),), [(QUIET, 500)], False),
        ((Hear("speech", 700),), [(LOUD, 500)], False),
        ((Interrupt(Say("hello"), 700),), [(LOUD, 500)], False),
    ],
)
def test_an_app_that_hangs_up(steps: tuple[Step, ...], said: list[tuple[bytes, int]], ok: bool) -> None:
    caller = a_caller(*steps)
    hear(caller, app(*said))
    outcome = caller.call_ended()
    assert outcome.ok is ok
    assert ok or outcome.reason == f"the call ended during step 1 of {len(steps)} ({steps[0]})"
    assert caller.events()[-1] == CallerEvent(caller.heard_ms, "ended")
    assert a_caller(*steps, on_hang_up="accept").call_ended() == OK


def test_the_end_of_a_call_changes_no_outcome() -> None:
    caller = a_caller(Hear("speech", within_ms=20))
    hear(caller, [QUIET] * 5)
    assert caller.call_ended() is caller.outcome
    assert caller.outcome is not None
    assert not caller.outcome.ok


def test_digits_of_the_app_are_noted() -> None:
    caller = a_caller(Wait(100))
    hear(caller, [QUIET, QUIET])
    caller.hear_digits("12")
    assert caller.events() == [CallerEvent(40, "heard_digits", "12")]


def test_a_clip_that_was_not_prepared_is_named() -> None:
    with pytest.raises(UsageError, match=r"was not prepared: say 'b', play c\.wav"):
        ScriptedCaller(Script((Say("a"), Say("b"), Play("x/c.wav"))), FMT, {Say("a").clip: b""})


def test_a_frame_of_another_size_is_refused() -> None:
    with pytest.raises(UsageError, match="has 160 bytes, not 320"):
        a_caller(Wait(20)).hear(bytes(320))


def test_an_empty_clip_takes_no_time() -> None:
    caller = ScriptedCaller(Script((Say("a"), Press("1"))), FMT, {Say("a").clip: b""})
    assert caller.hear(QUIET).digits == ("1",)


STEPS: list[Callable[[], Step]] = [
    lambda: Say("a"),
    lambda: Press("12", 60),
    lambda: Wait(50),
    lambda: Hear("speech", 60, 500),
    lambda: Hear("silence", 60, 500),
    lambda: Hear("hang_up", within_ms=300),
    lambda: Interrupt(Say("b"), 60, 500),
    HangUp,
]


@given(
    st.lists(st.sampled_from(STEPS), max_size=6),
    st.lists(st.sampled_from([QUIET, LOUD]), max_size=300),
    st.sampled_from(["fail", "continue"]),
    st.none() | st.integers(20, 400),
)
def test_every_script_gives_whole_frames_and_hangs_up_once(
    steps: list[Callable[[], Step]], heard: list[bytes], on_timeout: str, silent_ms: int | None
) -> None:
    def play() -> tuple[list[Turn], list[CallerEvent]]:
        caller = a_caller(*(step() for step in steps), rules=Rules(4000, silent_ms), on_timeout=on_timeout)
        turns = [caller.hear(frame) for frame in [*heard, *[QUIET] * 210]]
        assert caller.outcome is not None
        return turns, caller.events()

    turns, events = play()
    assert {len(turn.frame) for turn in turns} == {FMT.frame_bytes}
    assert sum(turn.hang_up for turn in turns) == 1
    assert all(not turn.digits for turn in turns[[turn.hang_up for turn in turns].index(True) :])
    assert [event.kind for event in events].count("hung_up") == 1
    assert play() == (turns, events)


def test_a_result_is_good_if_script_and_call_are() -> None:
    ran = Ended(code=4000, name="Normal Hangup", source="Caller", ran_to_end=True)
    cut = Ended(code=5000, name="Network Error", source="Error", ran_to_end=False)
    assert CallResult("c", ran, OK, 20).ok
    assert not CallResult("c", cut, OK, 20).ok
    assert not CallResult("c", None, OK, 20).ok
    assert not CallResult("c", ran, Outcome(ok=False, reason="x"), 20).ok
