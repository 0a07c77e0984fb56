"""The app: the server at the other end of the stream, and the `Call` it hands to user code."""
