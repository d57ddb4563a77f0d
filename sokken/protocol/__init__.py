"""The wire, without input or output: values in, values out (docs/protocol.md is the contract).

No sockets, no event loop, no clock, no randomness, nothing from a third party.
"""
