"""How the learner of limits does in traffic of every kind, beside the learners one writes first.

`python -m benchmarks.adaptive` simulates every regime with twenty seeds and prints each figure with
its bar. Nothing is timed but the cost of a call; the other figures are the same on every machine.
"""
