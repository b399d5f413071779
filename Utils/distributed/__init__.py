"""Distributed training: several processes train one network."""
