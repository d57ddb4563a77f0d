"""The wire as values: addresses, frames, handshakes; pure, so no socket, clock, randomness or third party."""
