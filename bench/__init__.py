"""Benchmarks: run by hand, never as timed tests.

They print ratios to yardsticks that were measured in the same run, since absolute figures do not carry over from one
machine, or one day, to the next.
"""
