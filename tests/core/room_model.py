"""The room's rules in their most naive form: every frame that was ever said, and sums of Python's own integers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Member:
    phase: int  # 0 to 3: its slot of each four
    ticks: int = 0  # frames moved so far
    lag: int = 0
    spare: int = 0
    pads: int = 0
    drops: int = 0
    muted: bool = False
    deaf: bool = False

    @property
    def slot(self) -> int:
        """The slot of the frame that is next."""
        return self.phase + 4 * self.ticks


class RoomModel:
    """What the docstring of bothway.core.room says and nothing else. Samples are lists of any length."""

    def __init__(self) -> None:
        self.said: list[tuple[int, Member, list[int]]] = []  # the first of its four slots, whose, what
        self.head = -(10**9)

    def say(self, member: Member, samples: list[int]) -> None:
        if member.muted:
            return
        first = member.slot + 1 + member.lag
        while first <= self.head:  # too late: somebody has listened there
            first, member.lag, member.pads, member.spare = first + 4, member.lag + 4, member.pads + 1, -1
        if member.spare < 0:
            member.spare = 0
        elif member.lag:
            member.spare = member.spare + 1 if first - 4 > self.head else 0
            if member.spare >= 100 or first - self.head > 12:
                member.lag, member.drops, member.spare = member.lag - 4, member.drops + 1, 0
                return
        self.said.append((first, member, samples))

    def hear(self, member: Member, size: int) -> list[int]:
        slot = member.slot
        self.head = max(self.head, slot)
        heard = [said for first, who, said in self.said if who is not member and first <= slot < first + 4]
        if member.deaf:
            heard = []
        return [max(-32768, min(32767, sum(said[at] for said in heard))) for at in range(size)]
