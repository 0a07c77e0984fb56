"""Benchmarks: run by hand, never as timed tests. They print ratios taken in one run, since absolute figures do not carry over."""
