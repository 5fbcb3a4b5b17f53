"""What the engine costs, measured against what a good Trio programmer writes by hand.

`python -m benchmarks` measures everything in interleaved rounds (A B A B ...) and prints each
figure with its floor and its bar. Ratios count, not microseconds: a ratio is taken within one
round, so a machine that is busy for a second slows both sides of it.
"""
