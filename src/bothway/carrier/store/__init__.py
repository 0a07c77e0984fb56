"""The carrier's records: what outlives a call, a process and a crash, in SQLite or PostgreSQL."""
