"""Distances of compared networks by their effective weights, with the units aligned, and against random networks."""
