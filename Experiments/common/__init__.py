"""Shared steps of experiments: build the network, find its masks, prune during training, measure."""
