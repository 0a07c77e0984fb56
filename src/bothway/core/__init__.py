"""State machines: synchronous, `now` comes in, events come out. No clock, no socket, no randomness."""
