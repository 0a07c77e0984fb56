"""The playout rules in their most naive form: one list of single bytes and marks, walked byte by byte."""

from __future__ import annotations


class PlayoutModel:
    """What design.md, section 3, says and nothing else. Time is in whole milliseconds from the first frame."""

    def __init__(self, frame: int, cap: int, silence: int) -> None:
        self.frame, self.cap, self.silence = frame, cap, silence
        self.items: list[int | str] = []  # bytes of audio and names of checkpoints, in order
        self.ending: list[str] = []  # checkpoints that pass when the sounding frame ends
        self.passed: list[tuple[str, int]] = []
        self.held = b""  # what a resampler before the queue still holds
        self.sounding = False
        self.taken = self.slips = self.played = self.cleared = self.refused = 0

    def queued(self) -> int:
        return sum(isinstance(item, int) for item in self.items)

    def play(self, chunk: bytes) -> bool:
        fits = self.queued() + len(chunk) <= self.cap
        self.items += chunk if fits else b""
        self.refused += 0 if fits else len(chunk)
        return fits

    def checkpoint(self, name: str, now: int) -> None:
        if not self.items and not self.sounding:
            self.passed.append((name, now))
        else:
            (self.items or self.ending).append(name)

    def clear(self) -> int:
        dropped = self.queued()
        self.items, self.ending, self.held = [], [], b""
        self.cleared += dropped
        return dropped

    def tick(self, now: int) -> list[bytes | None]:
        frames: list[bytes | None] = []
        while (due := self.taken * 20) <= now and len(frames) < 2:
            self.slips += now - due >= 20
            self.taken += 1
            frames.append(self.release(due))
        return frames

    def release(self, due: int) -> bytes | None:
        if self.held and self.queued() < self.frame and (self.items or self.sounding):
            if not self.items:
                self.items, self.ending = [*self.ending], []
            end = max((at + 1 for at, item in enumerate(self.items) if isinstance(item, int)), default=0)
            self.items[end:end], self.held = self.held, b""
        self.passed += [(name, due) for name in self.ending]
        self.ending, self.sounding, frame = [], bool(self.items), bytearray()
        while self.items and (len(frame) < self.frame or isinstance(self.items[0], str)):
            item = self.items.pop(0)
            self.ending.append(item) if isinstance(item, str) else frame.append(item)
        self.played += len(frame)
        return bytes(frame).ljust(self.frame, bytes([self.silence])) if self.sounding else None
