"""The gate: what the engine costs in instructions, against figures that are committed.

Wall time on a shared machine is noise, of several percent even as a ratio; the instructions that
Callgrind counts differ by less than one percent from run to run.
"""
