"""Effective sparsity: the kept weights on a path from an input to an output, for every threshold at once."""

from Utils.connectivity.effective import compression_curve, effective_masks, effective_scores

__all__ = ["compression_curve", "effective_masks", "effective_scores"]
