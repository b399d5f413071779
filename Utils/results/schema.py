"""Columns of the tables that every run writes."""

from __future__ import annotations

SUMMARY_COLUMNS = (
    "run", "status", "error", "settings", "experiment", "architecture", "data", "pruner", "pruning_type", "sample",
    "target_sparsity", "target_compression", "target_kept", "prunable", "kept_direct", "kept_effective",
    "direct_sparsity", "effective_sparsity", "direct_compression", "effective_compression", "graph_kept_effective",
    "graph_effective_sparsity", "structural_rank", "min_width", "participation_width", "min_layer_effective_density",
    "empty_layers", "dead_units", "collapsed", "macs", "direct_macs", "effective_macs", "top1", "top5", "best_top1",
    "test_loss", "train_loss", "iterations", "prune_seconds", "train_seconds",
)  # fmt: skip


ADDED_COLUMNS = ("structural_rank", "min_width", "participation_width")
"""Columns that rows of earlier versions lack: their values are unknown."""


LAYER_COLUMNS = (
    "layer", "shape", "size", "kept_direct", "kept_effective", "direct_sparsity", "effective_sparsity", "macs",
    "direct_macs", "effective_macs",
)  # fmt: skip


TRAINING_COLUMNS = (
    "iteration", "epoch", "lr", "train_loss", "train_top1", "val_loss", "val_top1", "test_loss", "top1", "top5",
    "seconds",
)  # fmt: skip


TEXT_COLUMNS = ("run", "error", "settings")
"""Columns read as text even if they look like numbers, as the run key 12e4567890 does."""


NUMBER_COLUMNS = SUMMARY_COLUMNS[SUMMARY_COLUMNS.index("sample") :]
