"""Sparsity of a network: direct and effective sparsity, multiply-adds, and bytes in several layouts."""

from Utils.sparsity.measure import direct_sparsity, effective_sparsity

__all__ = ["direct_sparsity", "effective_sparsity"]
