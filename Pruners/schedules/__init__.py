"""Quotas per layer, rounds of pruning, sparsity ramps and regrowth."""
