"""The ways a party reaches the carrier."""
