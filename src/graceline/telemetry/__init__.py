"""Telemetry: one stream of frozen events; every sink is a subscriber."""
