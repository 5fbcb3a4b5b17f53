"""Other libraries for the same job, beside graceline: what a node costs, and what a limit does.

`python -m benchmarks --peers` puts each into a virtual environment of its own, where a resident
worker runs it. What a node costs is measured in interleaved rounds. What a limit does is looked at,
not looked up: small scenarios run in each peer, and what happened is written down.
"""
