"""Benchmarks: each file states what it measures and the command that repeats it."""
