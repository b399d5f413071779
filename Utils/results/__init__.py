"""Results of runs: written by `store.py`, read by `summaries.py`; no other package accesses a results folder."""

from Utils.results.summaries import load_summaries

__all__ = ["load_summaries"]
