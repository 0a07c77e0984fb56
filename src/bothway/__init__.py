"""Bothway: phone-call audio, both ways."""
