"""Phone conversations, tested like functions."""
