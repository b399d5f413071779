"""Figures of the experiment `train-then-prune`: curves of variants without a pruner, and histograms."""
