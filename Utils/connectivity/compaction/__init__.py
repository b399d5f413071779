"""Compaction: a masked network as the small network of plain layers that it effectively is."""

from Utils.connectivity.compaction.compact import Compacted, compact

__all__ = ["Compacted", "compact"]
