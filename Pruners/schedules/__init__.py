"""Quotas per layer, rounds of pruning, ramps of sparsity and regrowth."""
