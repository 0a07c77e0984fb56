"""Text or bytes to frozen values and back: no state, no clock, no I/O."""
