from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.verbs.recorder import Recorder

from bothway.core.call import Call
from bothway.core.course import CallPlan, State
from bothway.core.dialling import (
    CallLeg,
    ConfirmLeg,
    DropLeg,
    EarlyLeg,
    JoinLeg,
    LegAnswered,
    LegConfirmed,
    LegDigit,
    LegEarlyMedia,
    LegEnded,
    LegPlaced,
    LegRang,
    LegTransferred,
    PassDigit,
)
from bothway.core.execution import (
    CallBack,
    DigitPressed,
    Fetch,
    PromptEnded,
    Ringback,
    TimerFired,
    VerbCommand,
    VerbEvent,
    VerbMachine,
    Wait,
)
from bothway.core.listening import Listen, StopListening
from bothway.core.profile import DOCUMENTED
from bothway.core.side_document import FetchSounds, SoundsFetched, SoundsMissing
from bothway.core.verbs.dial import CONFIRM_SECONDS, MOST_RUNG, RING_SECONDS, DialMachine, execute
from bothway.wire.callxml import to_xml
from bothway.wire.digits import read_digits
from bothway.wire.hangup import HangupCause
from bothway.wire.verbs import Dial, Number, Speak, User
from bothway.wire.webhooks import CallFacts

SOUND = "https://app.example.com/confirm"
MUSIC = "https://app.example.com/music"
BACK = "https://app.example.com/dial"
ONE, TWO, THREE = Number("20001"), Number("20002"), User("sip:bob@example.com")
BUSY, REJECTED, NO_ANSWER = (HangupCause.of(code, "Carrier") for code in (3010, 3020, 3000))
RING_TIMEOUT = HangupCause.of(6010, "Plivo")
GONE = HangupCause.of(4000, "Callee")


def facts(leg: int) -> CallFacts:
    return CallFacts(
        call_uuid=f"b{leg}", from_="15550001", to=f"2000{leg}", direction="outbound", auth_id="MA",
        session_start=datetime(2026, 1, 1, tzinfo=UTC), bill_rate=Decimal("0.01"), parent_call_uuid="a",
    )  # fmt: skip


class Dialled:
    """A dial under way, and what it has asked for."""

    def __init__(self, *parties: Number | User, answered: bool = True, **attributes: Any) -> None:
        self.call = Recorder(answered=answered)
        verb = Dial(parties or (ONE,), **{"callback_url": BACK, **attributes})
        assert execute(verb, self.call, 0.0) is Wait.VERB
        machine = self.call.asked[0][1]
        assert isinstance(machine, DialMachine)
        self.machine = machine
        self.placed = [command for command in self.sent if isinstance(command, CallLeg)]
        for command in self.placed:
            self.tell(LegPlaced(command.leg, facts(command.leg)), now=0.0)

    def tell(self, *events: VerbEvent, now: float = 1.0) -> list[tuple[object, ...]]:
        """What is asked because of these; callbacks aside."""
        before = len(self.call.asked)
        for event in events:
            self.machine.receive(event, now)
        return self.asked_since(before)

    def asked_since(self, before: int) -> list[tuple[object, ...]]:
        news = self.call.asked[before:]
        return [asked for asked in news if not isinstance(asked[-1], CallBack)]

    @property
    def sent(self) -> list[object]:
        return [details[0] for what, *details in self.call.asked if what == "send"]

    @property
    def callbacks(self) -> list[CallBack]:
        return [command for command in self.sent if isinstance(command, CallBack)]

    def reports(self, *names: str) -> list[tuple[str, ...]]:
        return [tuple(callback.params[name] for name in names) for callback in self.callbacks]

    @property
    def drops(self) -> dict[int, tuple[int, str]]:
        found = [command for command in self.sent if isinstance(command, DropLeg)]
        assert len({drop.leg for drop in found}) == len(found), "the last word on a leg is said once"
        return {drop.leg: (drop.cause.code, drop.cause.source) for drop in found}

    def outcome(self) -> dict[str, str] | None:
        """What the action URL is told; None while the dial goes on."""
        followed: list[Any] = [details for what, *details in self.call.asked if what == "follow"]
        assert len(followed) <= 1, "a dial is over once"
        return dict(followed[0][-1]) if followed else None

    def told(self, *names: str) -> tuple[str, ...]:
        """Some of what the action URL is told."""
        outcome = self.outcome()
        assert outcome is not None, "the dial is over"
        return tuple(outcome[name] for name in names)

    def joined(self, leg: int = 1, now: float = 1.0) -> Dialled:
        self.tell(LegAnswered(leg), now=now)
        assert [command.leg for command in self.sent if isinstance(command, JoinLeg)] == [leg]
        return self


# --- ringing ------------------------------------------------------------------------------------------------------


def test_all_parties_are_called_at_once_as_the_document_says() -> None:
    one = Number("20001", send_digits="1w2", sip_headers="b=2")
    dialled = Dialled(
        one, THREE, caller_id="+15559999", caller_name="Amal", timeout=30, sip_headers="a=1,PH-x=0", answered=False
    )
    assert dialled.placed == [
        CallLeg(
            leg=1, to=one, from_="+15559999", caller_name="Amal", headers=(("X-PH-a", "1"), ("X-PH-b", "2")),
            digits=read_digits("1w2"), ring_seconds=30,
        ),
        CallLeg(leg=2, to=THREE, from_="+15559999", caller_name="Amal", headers=(("X-PH-a", "1"),), ring_seconds=30),
    ]  # fmt: skip
    assert dialled.call.asked[1] == ("early_media",), "who is not answered hears it ring all the same"


def test_what_the_document_does_not_say() -> None:
    (leg,) = Dialled(ONE).placed
    assert leg == CallLeg(leg=1, to=ONE, ring_seconds=RING_SECONDS)


def test_keys_that_cannot_be_pressed_are_not() -> None:
    dialled = Dialled(Number("1", send_digits="hello"))
    assert dialled.placed[0].digits.keys == ""
    assert any(what == "remark" for what, *_ in dialled.call.asked)


def test_no_more_are_rung_at_a_time_than_may_be() -> None:
    dialled = Dialled(*[Number(str(number)) for number in range(MOST_RUNG + 5)])
    assert len(dialled.placed) == MOST_RUNG
    assert any(what == "remark" for what, *_ in dialled.call.asked)


def test_the_ringing_tone_is_heard_from_the_ringing_on_over_and_over() -> None:
    dialled = Dialled(ONE, TWO)
    assert ("say", Ringback()) not in dialled.call.asked, "it rings nowhere yet"
    assert dialled.tell(LegRang(1)) == [("say", Ringback())]
    prompt = str(len(dialled.call.asked))
    assert dialled.tell(LegRang(2)) == []
    assert dialled.tell(PromptEnded("nobody's", heard=True)) == []
    assert dialled.tell(PromptEnded(prompt, heard=True)) == [("say", Ringback())]
    assert dialled.tell(LegEnded(1, BUSY)) == [], "it rings at the other still"
    asked = dialled.tell(LegAnswered(2))
    assert asked.index(("hush",)) < asked.index(("send", JoinLeg(2)))


def test_the_tone_is_not_repeated_for_telephones_that_ring_no_more() -> None:
    dialled = Dialled(ONE, TWO)
    dialled.tell(LegRang(1))
    prompt = str(len(dialled.call.asked))
    dialled.tell(LegEnded(1, BUSY))
    assert dialled.tell(PromptEnded(prompt, heard=True)) == []
    assert dialled.tell(LegRang(2)) == [("say", Ringback())]


def test_music_takes_the_place_of_the_tone() -> None:
    dialled = Dialled(ONE, dial_music=MUSIC)
    assert FetchSounds(MUSIC, "DialMusic") in dialled.sent
    assert dialled.tell(LegRang(1)) == []
    assert dialled.tell(SoundsFetched(MUSIC, b"<Response><Speak>la</Speak></Response>")) == [("say", Speak("la"))]
    prompt = str(len(dialled.call.asked))
    assert dialled.tell(PromptEnded(prompt, heard=True)) == [("say", Speak("la"))], "over and over"
    assert ("hush",) in dialled.tell(LegAnswered(1))


@pytest.mark.parametrize("answer", [SoundsMissing(MUSIC, "404"), SoundsFetched(MUSIC, b"<Response/>")])
def test_where_there_is_no_music_there_is_the_tone(answer: VerbEvent) -> None:
    dialled = Dialled(ONE, dial_music=MUSIC)
    dialled.tell(LegRang(1))
    assert dialled.tell(answer)[-1] == ("say", Ringback())


def test_real_lets_the_caller_hear_the_called_network() -> None:
    dialled = Dialled(ONE, TWO, dial_music="real")
    assert dialled.tell(LegRang(1)) == [("say", Ringback())], "until there is something to hear"
    assert dialled.tell(LegEarlyMedia(1)) == [("hush",), ("send", EarlyLeg(1, heard=True))]
    assert dialled.tell(LegEarlyMedia(2)) == [], "who comes first is heard"
    assert dialled.tell(LegRang(2)) == []
    assert dialled.tell(LegEnded(1, BUSY)) == [("say", Ringback())]
    assert ("send", JoinLeg(2)) in dialled.tell(LegAnswered(2))


def test_what_is_said_to_the_question_is_not_for_the_caller() -> None:
    dialled = Dialled(ONE, dial_music="real", confirm_sound=SOUND, confirm_key="1")
    dialled.tell(LegEarlyMedia(1))
    assert dialled.tell(LegAnswered(1)) == [
        ("send", EarlyLeg(1, heard=False)),
        ("say", Ringback()),
        ("send", ConfirmLeg(1, SOUND, "1", CONFIRM_SECONDS)),
    ]


def test_early_media_is_taken_for_keys_that_want_it() -> None:
    dialled = Dialled(Number("1", send_digits="1", send_on_preanswer=True), TWO)
    assert dialled.tell(LegEarlyMedia(1)) == [("send", EarlyLeg(1, heard=False))]
    assert dialled.tell(LegEarlyMedia(2)) == []


# --- who is joined ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answered", [True, False])
def test_who_answers_first_is_joined_and_the_others_lose(*, answered: bool) -> None:
    dialled = Dialled(ONE, TWO, THREE, answered=answered, time_limit=60)
    dialled.tell(LegRang(1), LegRang(2))
    asked = dialled.tell(LegAnswered(2), now=5.0)
    assert dialled.drops == {1: (9000, "Plivo"), 3: (9000, "Plivo")}
    answer, join = asked.index(("answer",)), asked.index(("send", JoinLeg(2)))
    assert answer < join, "a caller is picked up before it is joined"
    assert asked[-1] == ("set_timer", "time limit of the dial", 65.0)
    assert dialled.outcome() is None


def test_late_comers_are_nobody() -> None:
    dialled = Dialled(ONE, TWO).joined(1)
    assert dialled.tell(LegAnswered(2), LegRang(2), LegConfirmed(2, confirmed=True), LegEnded(2, GONE)) == []
    assert dialled.outcome() is None


@pytest.mark.parametrize("confirmed_first", [1, 2])
def test_who_confirms_first_is_joined(confirmed_first: int) -> None:
    dialled = Dialled(ONE, TWO, confirm_sound=SOUND, confirm_key="1", confirm_timeout=9)
    dialled.tell(LegRang(1))
    assert dialled.tell(LegAnswered(1)) == [("send", ConfirmLeg(1, SOUND, "1", 9))]
    assert dialled.tell(LegAnswered(2)) == [("send", ConfirmLeg(2, SOUND, "1", 9))]
    asked = dialled.tell(LegConfirmed(confirmed_first, confirmed=True))
    assert ("send", JoinLeg(confirmed_first)) in asked
    assert dialled.drops == {3 - confirmed_first: (9000, "Plivo")}


def test_who_does_not_confirm_is_ended_and_the_next_one_may() -> None:
    dialled = Dialled(ONE, TWO, confirm_sound=SOUND)
    dialled.tell(LegRang(2))
    assert dialled.tell(LegAnswered(1)) == [("send", ConfirmLeg(1, SOUND, None, CONFIRM_SECONDS))]
    dialled.tell(LegConfirmed(1, confirmed=False))
    assert dialled.drops == {1: (9110, "Plivo")}
    assert dialled.outcome() is None
    dialled.tell(LegAnswered(2), LegConfirmed(2, confirmed=False))
    assert dialled.drops[2] == (9110, "Plivo")
    assert dialled.told("DialStatus", "DialBLegUUID") == ("no-answer", "")


def test_who_hangs_up_while_it_is_asked_is_lost() -> None:
    dialled = Dialled(ONE, confirm_sound=SOUND, confirm_key="1")
    dialled.tell(LegAnswered(1), LegEnded(1, GONE), LegConfirmed(1, confirmed=True))
    assert dialled.told("DialStatus") == ("failed",)


def test_a_key_without_a_sound_asks_nothing() -> None:
    """The hosted carrier wants the sound for the key to count."""
    dialled = Dialled(ONE, confirm_key="1")
    assert any(what == "remark" for what, *_ in dialled.call.asked)
    dialled.joined()


# --- how it ends --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "status", "word"),
    [
        (BUSY, "busy", "USER_BUSY"),
        (REJECTED, "failed", "CALL_REJECTED"),
        (NO_ANSWER, "no-answer", "NO_ANSWER"),
        (RING_TIMEOUT, "timeout", "NO_ANSWER"),
        (HangupCause.of(3050, "Carrier"), "failed", "UNALLOCATED_NUMBER"),
        (HangupCause.of(5000, "Carrier"), "failed", "NETWORK_OUT_OF_ORDER"),
        (HangupCause.of(2020, "Plivo"), "failed", "USER_NOT_REGISTERED"),
        (HangupCause.of(1000, "API Request"), "cancel", "ORIGINATOR_CANCEL"),
        (HangupCause.of(4240, "Carrier"), "failed", "sip_auth_failed"),
        (HangupCause.of(4250, "Carrier"), "timeout", "sip_auth_timeout"),
    ],
)
@pytest.mark.parametrize("rang", [True, False])
def test_nobody_answers(end: HangupCause, status: str, word: str, *, rang: bool) -> None:
    dialled = Dialled(ONE)
    if rang:
        dialled.tell(LegRang(1))
    dialled.tell(LegEnded(1, end))
    assert dialled.outcome() == {
        "DialStatus": status,
        "DialRingStatus": "true" if rang else "false",
        "DialHangupCause": word,
        "DialALegUUID": "a",
        "DialBLegUUID": "",
    }
    assert dialled.drops == {}


def test_of_several_that_do_not_answer_the_last_one_counts() -> None:
    dialled = Dialled(ONE, TWO)
    dialled.tell(LegRang(1), LegEnded(1, BUSY))
    assert dialled.outcome() is None
    dialled.tell(LegEnded(2, NO_ANSWER))
    assert dialled.told("DialStatus", "DialRingStatus") == ("no-answer", "true")


def test_a_party_that_cannot_even_be_called() -> None:
    call = Recorder()
    execute(Dial((ONE,), callback_url=BACK), call, 0.0)
    machine: Any = call.asked[0][1]
    machine.receive(LegEnded(1, HangupCause.of(5010, "Error")), 0.0)
    asked: Any = call.asked[-1]
    assert (asked[0], asked[-1]["DialStatus"], asked[-1]["DialALegUUID"]) == ("follow", "failed", "")


@pytest.mark.parametrize("end", [GONE, HangupCause.of(4000, "API Request"), HangupCause.of(6020, "Plivo")])
def test_the_called_party_goes(end: HangupCause) -> None:
    dialled = Dialled(ONE, TWO).joined(2)
    dialled.tell(LegEnded(2, end), now=30.0)
    assert dialled.outcome() == {
        "DialStatus": "completed",
        "DialRingStatus": "true",
        "DialHangupCause": end.cause,
        "DialALegUUID": "a",
        "DialBLegUUID": "b2",
    }
    assert dialled.drops == {1: (9000, "Plivo")}


def test_the_time_limit_of_the_joined_call() -> None:
    dialled = Dialled(ONE, time_limit=60).joined(now=5.0)
    assert dialled.tell(TimerFired("another"), now=6.0) == []
    dialled.tell(TimerFired("time limit of the dial"), now=65.0)
    assert dialled.drops == {1: (6000, "Plivo")}
    assert dialled.told("DialStatus") == ("completed",)


@pytest.mark.parametrize(
    ("events", "code", "status"),
    [
        ((LegRang(1),), 1000, "cancel"),
        ((LegAnswered(1),), 4000, "completed"),
    ],
)
def test_the_caller_hangs_up_on_the_called_party_and_stays(
    events: tuple[VerbEvent, ...], code: int, status: str
) -> None:
    dialled = Dialled(ONE, hangup_on_star=True)
    dialled.tell(*events)
    dialled.tell(DigitPressed("1"))
    assert dialled.outcome() is None
    dialled.tell(DigitPressed("*"))
    assert dialled.drops == {1: (code, "Caller")}
    assert dialled.told("DialStatus") == (status,)


def test_a_star_is_a_key_like_any_other_where_nothing_is_said_of_it() -> None:
    assert Dialled(ONE).joined().tell(DigitPressed("*")) == [("send", PassDigit(1, "*"))]


PARTED = [
    # how the caller's call ended, how a leg that rings ends, and how one that has answered does
    (None, (1000, "API Request"), (4000, "API Request")),
    (HangupCause.of(4000, "Caller"), (1000, "Caller"), (4000, "Caller")),
    (HangupCause.of(4000, "Callee"), (1000, "Caller"), (4000, "Caller")),
    (HangupCause.of(1000, "Caller"), (1000, "Caller"), (4000, "Caller")),
    (HangupCause.of(4000, "API Request"), (1000, "API Request"), (4000, "API Request")),
    (HangupCause.of(6000, "Plivo"), (1000, "Plivo"), (6000, "Plivo")),
    (HangupCause.of(5010, "Error"), (1000, "Error"), (5010, "Error")),
]


@pytest.mark.parametrize(("end", "rings", "talks"), PARTED)
def test_the_callers_end_is_that_of_the_legs(
    end: HangupCause | None, rings: tuple[int, str], talks: tuple[int, str]
) -> None:
    dialled = Dialled(ONE, TWO, confirm_sound=SOUND)
    dialled.tell(LegAnswered(2))
    dialled.call.end_cause = end
    dialled.machine.stop(9.0)
    dialled.machine.stop(9.0)
    assert dialled.drops == {1: rings, 2: talks}
    joined = Dialled(ONE).joined()
    joined.call.end_cause = end
    joined.machine.stop(9.0)
    assert joined.drops == {1: talks}
    assert joined.outcome() is None, "there is nobody left to go on"


def test_a_leg_that_is_transferred_leaves_the_dial_and_lives() -> None:
    dialled = Dialled(ONE).joined()
    assert dialled.tell(LegTransferred(1, goes_on=False)) == [("set_timer", "time limit of the dial", None)]
    assert dialled.tell(DigitPressed("1")) == []
    dialled.tell(LegTransferred(1, goes_on=True))
    assert dialled.drops == {}
    assert dialled.told("DialStatus", "DialHangupCause") == ("completed", "NORMAL_CLEARING")
    assert "DialHangup" not in [callback.event for callback in dialled.callbacks]


def test_a_transfer_that_is_told_when_another_dial_has_begun_means_nothing_to_it() -> None:
    dialled = Dialled(ONE)
    assert dialled.tell(LegTransferred(3, goes_on=True), LegTransferred(1, goes_on=True)) == []
    dialled.joined()
    assert dialled.tell(LegTransferred(3, goes_on=True)) == []
    assert dialled.outcome() is None


def test_a_call_of_which_both_legs_are_transferred_does_not_go_on_here() -> None:
    dialled = Dialled(ONE).joined()
    dialled.tell(LegTransferred(1, goes_on=False))
    dialled.machine.stop(2.0)
    assert dialled.drops == {}
    assert dialled.tell(LegTransferred(1, goes_on=True)) == []
    assert dialled.outcome() is None


# --- keys and callbacks -------------------------------------------------------------------------------------------


def test_keys_are_passed_on_while_two_are_joined() -> None:
    dialled = Dialled(ONE, TWO)
    assert dialled.tell(DigitPressed("1"), LegDigit(1, "1")) == []
    dialled.joined(2)
    assert dialled.tell(DigitPressed("5")) == [("send", PassDigit(2, "5"))]
    assert dialled.tell(LegDigit(2, "6")) == [("send", PassDigit(None, "6"))]
    assert dialled.tell(LegDigit(1, "7")) == []


@pytest.mark.parametrize("patterns", [None, "1"])
def test_the_called_partys_tones_are_listened_for_where_they_count(patterns: str | None) -> None:
    assert JoinLeg(1, listens=patterns is not None) in Dialled(ONE, digits_match_b_leg=patterns).joined().sent


def test_tones_are_not_passed_on_but_count() -> None:
    """Who hears the audio has heard them."""
    dialled = Dialled(ONE, digits_match="1", digits_match_b_leg="2").joined()
    assert dialled.tell(DigitPressed("1", in_band=True), LegDigit(1, "2", in_band=True)) == []
    assert dialled.reports("DialAction")[-2:] == [("digits",), ("digits",)]


@pytest.mark.parametrize(
    ("attributes", "listens"), [({"digits_match": "1"}, 1), ({"hangup_on_star": True}, 1), ({}, 0)]
)
def test_tones_are_listened_for_where_they_count(attributes: dict[str, Any], listens: int) -> None:
    finished, stopped = Dialled(ONE, **attributes).joined(), Dialled(ONE, **attributes)
    finished.tell(LegEnded(1, GONE))
    stopped.machine.stop(2.0)
    for dialled in (finished, stopped):
        assert dialled.sent.count(Listen(keys=True)) == dialled.sent.count(StopListening()) == listens


@pytest.mark.parametrize(
    ("patterns", "keys", "matches"),
    [
        ("1", "21", ["1"]),
        ("12,3", "0123", ["12", "3"]),
        ("1,11", "11", ["1", "11"]),
        ("*9,#", "*8*9#", ["*9", "#"]),
        (" 12 , ,", "12", ["12"]),
        ("121", "12121", ["121", "121"]),
        ("", "123", []),
        (None, "123", []),
    ],
)
def test_patterns_of_keys_are_reported(patterns: str | None, keys: str, matches: list[str]) -> None:
    for caller in (True, False):
        attributes: dict[str, Any] = {"digits_match" if caller else "digits_match_b_leg": patterns}
        dialled = Dialled(ONE, **attributes).joined()
        for key in keys:
            dialled.tell(DigitPressed(key) if caller else LegDigit(1, key))
            dialled.tell(LegDigit(1, "4") if caller else DigitPressed("4"))
        found = [c.params for c in dialled.callbacks if c.event == "DialDigitsMatch"]
        assert [params["DialDigitsMatch"] for params in found] == matches
        assert {params["DialDigitsPressedBy"] for params in found} <= {"ALeg" if caller else "BLeg"}
        assert {params["DialAction"] for params in found} <= {"digits"}


def test_the_callback_hears_of_every_leg() -> None:
    dialled = Dialled(ONE, TWO, callback_method="GET")
    dialled.tell(LegRang(1), now=1.0)
    dialled.tell(LegAnswered(1), now=3.0)
    dialled.tell(LegEnded(1, GONE), now=64.2)
    assert [(c.event, c.kind, c.url, c.method) for c in dialled.callbacks] == [
        (event, "dial", BACK, "GET") for event in ("DialAnswer", "DialHangup", "DialConnected", "DialHangup")
    ]
    assert dialled.reports("DialAction", "DialBLegStatus", "DialALegUUID", "DialBLegUUID", "DialBLegPosition") == [
        ("answer", "answer", "a", "b1", "1"),
        ("hangup", "hangup", "a", "b2", "2"),
        ("connected", "connected", "a", "b1", "1"),
        ("hangup", "hangup", "a", "b1", "1"),
    ]
    assert {(c.params["DialBLegFrom"], c.params["DialBLegBillRate"]) for c in dialled.callbacks} == {
        ("15550001", "0.01")
    }
    lost, ended = (c.params for c in dialled.callbacks if c.event == "DialHangup")
    assert {name: value for name, value in lost.items() if name.startswith("DialBLegH")} == {
        "DialBLegHangupCauseName": "Lost Race",
        "DialBLegHangupCauseCode": "9000",
        "DialBLegHangupSource": "Plivo",
    }
    assert (lost["DialBLegDuration"], lost["DialBLegBillDuration"], lost["DialBLegTo"]) == ("0", "0", "20002")
    assert (ended["DialBLegDuration"], ended["DialBLegBillDuration"], ended["DialBLegTo"]) == ("62", "120", "20001")
    assert (ended["DialBLegHangupCauseCode"], ended["DialBLegHangupSource"]) == ("4000", "Callee")


def test_without_a_callback_url_nobody_hears() -> None:
    dialled = Dialled(ONE, callback_url=None, digits_match="1").joined()
    dialled.tell(DigitPressed("1"), LegEnded(1, GONE))
    assert dialled.callbacks == []


# --- any order of events ------------------------------------------------------------------------------------------


LEGS = st.integers(1, 3)
CAUSES = st.sampled_from([BUSY, REJECTED, NO_ANSWER, RING_TIMEOUT, GONE])
EVENTS: st.SearchStrategy[VerbEvent] = st.one_of(
    st.builds(LegRang, LEGS),
    st.builds(LegEarlyMedia, LEGS),
    st.builds(LegAnswered, LEGS),
    st.builds(LegConfirmed, LEGS, st.booleans()),
    st.builds(LegDigit, LEGS, st.sampled_from("1*")),
    st.builds(LegEnded, LEGS, CAUSES),
    st.builds(LegTransferred, LEGS, st.booleans()),
    st.builds(DigitPressed, st.sampled_from("1*")),
    st.builds(TimerFired, st.just("time limit of the dial")),
    st.just(SoundsFetched(MUSIC, b"<Response><Speak>la</Speak><Wait/></Response>")),
    st.just(SoundsMissing(MUSIC, "gone")),
    st.just(PromptEnded("1", heard=True)),
)
VERBS = st.builds(
    Dial,
    st.just((ONE, TWO, THREE)),
    confirm_sound=st.none() | st.just(SOUND),
    confirm_key=st.none() | st.just("1"),
    hangup_on_star=st.booleans(),
    dial_music=st.sampled_from([None, "real", MUSIC]),
    callback_url=st.just(BACK),
    action=st.none() | st.just("https://app.example.com/action"),
    redirect=st.booleans(),
    time_limit=st.just(60),
)


class Shell:
    """A real call with a `<Dial>`, and the legs that a shell would have: an event of one that is gone does not come."""

    def __init__(self, verb: Dial) -> None:
        self.call = Call(CallPlan("https://app.example.com/answer"), DOCUMENTED)
        self.call.start(0.0)
        self.call.to_send()
        self.live: set[int] = set()
        self.fates: Counter[int] = Counter()
        self.joined: list[int] = []
        self.fetched = 0
        document = to_xml([verb, Speak("after")])
        self.call.receive_document(1, document.encode(), 0.0)
        self.obey()

    def obey(self) -> None:
        while commands := self.call.to_send():
            for command in commands:
                self._do(command)

    def _do(self, command: object) -> None:
        if isinstance(command, CallLeg):
            self.live.add(command.leg)
            self.call.receive(LegPlaced(command.leg, facts(command.leg)), 0.0)
        elif isinstance(command, DropLeg):
            self._bury(command.leg)
        elif isinstance(command, JoinLeg):
            assert command.leg in self.live
            self.joined.append(command.leg)
        elif isinstance(command, Fetch):
            self.fetched += 1
        elif isinstance(command, EarlyLeg | ConfirmLeg | PassDigit) and command.leg is not None:
            assert command.leg in self.live
        assert isinstance(command, VerbCommand | CallBack) or type(command).__module__ == "bothway.core.execution"

    def _bury(self, leg: int) -> None:
        assert leg in self.live
        self.live.discard(leg)
        self.fates[leg] += 1

    def tell(self, event: VerbEvent, now: float) -> None:
        leg = getattr(event, "leg", None)
        if leg is not None and leg not in self.live and not (isinstance(event, LegTransferred) and event.goes_on):
            return
        if isinstance(event, LegTransferred) and not event.goes_on:
            if leg not in self.joined:
                return
            self._bury(leg)
        if isinstance(event, LegTransferred) and event.goes_on and (leg in self.live or leg not in self.joined):
            return
        if isinstance(event, LegEnded):
            self._bury(event.leg)
        self.call.receive(event, now)
        self.obey()


@given(VERBS, st.lists(EVENTS, max_size=25), st.sampled_from(["hang up", "transfer", "nothing"]))
def test_every_leg_has_one_fate_and_the_dial_is_over_once(verb: Dial, events: list[VerbEvent], end: str) -> None:
    shell = Shell(verb)
    assert shell.live == {1, 2, 3}
    for second, event in enumerate(events):
        shell.tell(event, float(second))
    assert len(shell.joined) <= 1
    over = shell.call.state is not State.RUNNING
    assert not (over and shell.live), "no leg outlives its dial"
    assert over or shell.live or shell.joined, (
        "a dial does not outlive its legs, but for a moment when one was transferred"
    )
    assert shell.fetched == (1 if over and verb.action and verb.redirect else 0)
    if end == "hang up":
        shell.call.receive_hangup(99.0)
    elif end == "transfer" and shell.call.state is not State.ENDED:
        shell.call.transfer("https://app.example.com/other", "POST", 99.0)
    shell.obey()
    if end != "nothing":
        assert not shell.live
        assert shell.fates == {1: 1, 2: 1, 3: 1}
    assert set(shell.fates.values()) <= {1}


def test_it_is_a_machine() -> None:
    machine: VerbMachine = DialMachine(Dial((ONE,)), Recorder())
    machine.stop(0.0)
