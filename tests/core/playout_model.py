"""The playout rules in their most naive form: one list of single bytes and marks, walked byte by byte."""

from __future__ import annotations

Item = int | str


class PlayoutModel:
    """What design.md, section 3, says and nothing else. Time is in whole milliseconds from the first frame."""

    def __init__(self, frame: int, cap: int, silence: int) -> None:
        self.frame, self.cap, self.silence = frame, cap, silence
        self.items: list[Item] = []  # bytes of audio and names of checkpoints, in order
        self.ending: list[str] = []  # checkpoints that pass when the sounding frame ends
        self.passed: list[tuple[str, int]] = []
        self.held = b""  # what a resampler before the queue still holds
        self.sounding = False
        self.taken = self.slips = self.played = self.cleared = self.refused = 0

    def queued(self) -> int:
        return sum(isinstance(item, int) for item in self.items)

    def play(self, chunk: bytes) -> bool:
        if self.queued() + len(chunk) > self.cap:
            self.refused += len(chunk)
            return False
        self.items += chunk
        return True

    def checkpoint(self, name: str, now: int) -> None:
        if self.items:
            self.items.append(name)
        elif self.sounding:
            self.ending.append(name)
        else:
            self.passed.append((name, now))

    def clear(self) -> int:
        dropped = self.queued()
        self.items, self.ending, self.held = [], [], b""
        self.cleared += dropped
        return dropped

    def tick(self, now: int) -> list[bytes | None]:
        frames = []
        while (due := self.taken * 20) <= now and len(frames) < 2:
            self.slips += now - due >= 20
            frames.append(self.release(due))
            self.taken += 1
        return frames

    def release(self, due: int) -> bytes | None:
        if self.queued() < self.frame and (self.items or self.sounding):
            self._take_held()
        self.passed += [(name, due) for name in self.ending]
        self.ending = []
        self.sounding = bool(self.items)
        frame = bytearray()
        while self.items and (len(frame) < self.frame or isinstance(self.items[0], str)):
            match self.items.pop(0):
                case str(name):
                    self.ending.append(name)
                case sample:
                    frame.append(sample)
        self.played += len(frame)
        return bytes(frame).ljust(self.frame, bytes([self.silence])) if self.sounding else None

    def _take_held(self) -> None:
        if self.held and not self.items:
            self.items, self.ending = list(self.ending), []
        behind = [item for item in self.items if isinstance(item, str)]
