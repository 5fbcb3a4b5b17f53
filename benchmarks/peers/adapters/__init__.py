"""One module per peer: how its nodes and limits are written, by its own documentation.

Each has a class `Peer`, and runs only where the peer is installed.
"""
