"""Pipelines as YAML files: read with positions, checked as a whole, and built into definitions."""
