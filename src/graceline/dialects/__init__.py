"""Dialects: other ways to write a pipeline down, or to call one, than as Python definitions."""
