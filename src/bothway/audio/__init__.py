"""Samples: formats, G.711, resampling, mixing, tones, WAV.

No I/O but whole files on request, no clock, no state but a filter's.
"""
