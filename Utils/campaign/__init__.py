"""Campaigns: many runs, each executed once, on one process, a pool of processes or a Ray cluster."""
