"""Anatomy: which statistics of a mask go with accuracy, over finished runs."""
