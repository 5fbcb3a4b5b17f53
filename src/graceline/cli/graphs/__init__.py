"""Drawings of what a pipeline is made of: which part waits for which, and with what limit."""
