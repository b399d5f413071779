"""Table of every flag: a value to try, what it needs to act, and the experiments that refuse it."""

OPTIONS = {
    "multishot": "--levels=2", "gradual": "--prune_every=2", "dynamic": "--exchange_every=2",
    "union-mask": "--prune_every=1 --cycles=2", "train-then-prune": "--k_vals=0.5",
    "supermask": "--batch_size=700 --freeze_every=1",
    "anatomy": "--pruners=snip --sparsities=0.5 --samples=1 --controls=shuffle --control_sparsities=0.9 --resamples=5",
    "compare": "--files=first.pt,second.pt --images=20 --nulls=1 --parts=distances,activations,structure,paths",
}  # fmt: skip
"""Options with which short runs of an experiment do all that they should."""

VALUES = {
    "experiment": "singleshot", "architecture": "fc", "data": "mnist", "pretrained": "1", "dense_classifier": "1",
    "image_size": "10", "mean": "0.3", "std": "0.4", "sample": "1", "pruner": "magnitude", "pruning_type": "effective",
    "effective_type": "graph", "target_sparsity": "0.5", "target_density": "0.5", "com_exp": "0.5",
    "prune_examples": "20", "weights_from": "weights.pt", "masks_from": "masks.safetensors", "pre_iterations": "3",
    "prune_iterations": "3", "schedule": "linear", "prune_unit": "unit", "compute_aware": "1", "prune_bias": "1",
    "prune_batchnorm": "1", "prune_residual": "1", "prune_train_mode": "0", "keep_alive": "1", "invert": "1",
    "shuffle": "1", "reinitialize": "1", "train": "0", "iterations": "6", "epochs": "1", "optimizer": "adam",
    "lr": "0.02", "lr_drops": "3", "lr_drop_rate": "0.5", "lr_schedule": "cosine", "lr_cycle": "2", "warmup": "3",
    "momentum": "0.5", "weight_decay": "0.1", "weight_decay_scope": "all", "batch_size": "600", "accumulate": "2",
    "augmentation": "rotation", "batchnorm": "batch", "validation": "100", "evaluate_every": "2", "precision": "bf16",
    "levels": "3", "rewind": "2", "start_step": "0.25", "prune_every": "3", "ramp": "linear",
    "initial_sparsity": "0.3", "end_step": "0.9", "ramp_cycle": "3", "carry_mask": "1", "k_vals": "0.3",
    "keep_best": "0", "l1_reg": "0.01", "l2_reg": "0.01", "grow": "random", "drop_fraction": "0.5",
    "exchange_every": "3", "arm": "vanilla-cyclic", "cycles": "3", "draws": "0.5,0.1,0.2", "active_rows": "0.5,0.5,1",
    "tile": "1,4", "algorithm": "iterative-edge-popup", "weight_init": "kaiming-normal", "scale_fan": "1",
    "score_init": "skew", "score_penalty": "entropy", "penalty_strength": "0.01", "penalty_exponents": "2,1",
    "clamp_forward": "1", "quantize": "0", "threshold": "0.3", "rounding": "probabilistic", "unflag": "1",
    "freeze_every": "2", "freeze_rule": "layer", "stop_freezing": "1", "smart_ratio_ends": "0.5,0.4",
    "fine_tune_length": "0.5", "fine_tune_optimizer": "adam", "fine_tune_lr": "0.02",
    "fine_tune_lr_schedule": "cosine", "fine_tune_lr_drops": "5", "fine_tune_weight_decay": "0.1",
    "fine_tune_biases": "0", "sanity_checks": "shuffle", "exponents": "0.5,1.5",
    "runs": "pruner=snip", "pruners": "random", "sparsities": "0.6", "samples": "2", "controls": "reinitialize",
    "control_sparsities": "0.8", "control_samples": "1", "resamples": "7", "branch_at": "2",
    "files": "second.pt,weights.pt", "parts": "activations,structure,paths", "variant": "thesis", "alignment": "none",
    "swaps": "5", "nulls": "2", "null_models": "unit", "shortcuts": "0", "images": "15", "when": "before",
    "points": "3", "report": "1",
}  # fmt: skip
"""A value of each flag other than its default."""

NEEDS = {
    "effective_type": "--pruning_type=effective", "pre_iterations": "--pruner=magnitude",
    "schedule": "--prune_iterations=3", "compute_aware": "--prune_unit=unit --target_sparsity=0.5",
    "pruning_type": "--target_sparsity=0.97", "keep_alive": "--target_sparsity=0.99",
    "lr_drop_rate": "--lr_drops=4", "lr_cycle": "--lr_schedule=cyclic",
    "ramp_cycle": "--ramp=half-cycle --prune_every=1", "draws": "--pruner=random/structured",
    "active_rows": "--pruner=random/structured", "tile": "--pruner=random/structured",
    "unflag": "--target_density=0.9", "penalty_exponents": "--score_penalty=variance",
    "fine_tune_lr_drops": "--fine_tune_lr_schedule=step",
    "resamples": "--pruners=snip,magnitude,random --samples=2",
}  # fmt: skip
"""Flags without which another has no effect."""

ELSEWHERE = {"experiment", "architecture", "data", "epochs"}
"""Flags that choose another network, whose result differs whatever else is given, or that are spelled as another."""

RARE = {"effective_type", "pretrained", "shortcuts"}
"""Flags whose effect shows on other networks only."""

SLIGHT = {
    "pruning_type", "compute_aware", "carry_mask", "pre_iterations", "prune_examples", "prune_iterations", "schedule",
    "prune_train_mode", "keep_alive", "clamp_forward", "image_size",
}  # fmt: skip
"""Flags that change masks where the order of weights happens to differ: they do in the first context."""

_OF_ORDERS = {
    "accumulate", "augmentation", "batchnorm", "com_exp", "compute_aware", "effective_type", "evaluate_every",
    "iterations", "keep_alive", "lr", "lr_cycle", "lr_drop_rate", "lr_drops", "lr_schedule", "masks_from", "momentum",
    "optimizer", "pre_iterations", "precision", "pretrained", "prune_unit", "pruning_type", "reinitialize", "shuffle",
    "target_density", "target_sparsity", "warmup", "weight_decay", "weight_decay_scope",
}  # fmt: skip

_UNTRAINED = {
    "accumulate", "augmentation", "batchnorm", "evaluate_every", "iterations", "lr", "lr_cycle", "lr_drop_rate",
    "lr_drops", "lr_schedule", "momentum", "optimizer", "pre_iterations", "precision", "pretrained", "reinitialize",
    "warmup", "weight_decay", "weight_decay_scope",
}  # fmt: skip

_OF_RAW_SCORES = _UNTRAINED | {
    "active_rows", "com_exp", "compute_aware", "dense_classifier", "draws", "effective_type", "invert", "keep_alive",
    "prune_batchnorm", "prune_bias", "prune_iterations", "prune_residual", "prune_unit", "pruning_type", "schedule",
    "shuffle", "target_density", "target_sparsity", "tile",
}  # fmt: skip

WITHOUT_EFFECT = {
    "singleshot": {"pretrained"},
    "multishot": {"pretrained", "shuffle"},
    "gradual": {"pretrained", "train", "pre_iterations", "shuffle", "reinitialize"},
    "dynamic": {"pretrained", "train", "pre_iterations", "shuffle", "prune_unit", "compute_aware", "keep_alive"},
    "union-mask": {
        "pretrained", "train", "pre_iterations", "shuffle", "reinitialize", "lr_schedule", "lr_drops", "lr_drop_rate",
    },
    "train-then-prune": {
        "pretrained", "pre_iterations", "shuffle", "reinitialize", "pruner", "pruning_type", "target_sparsity",
        "target_density", "com_exp", "masks_from", "effective_type", "prune_examples", "prune_train_mode",
        "prune_iterations", "schedule", "prune_unit", "compute_aware", "keep_alive", "invert",
        "draws", "active_rows", "tile",
    },
    "supermask": {
        "pretrained", "pre_iterations", "shuffle", "reinitialize", "pruner", "prune_examples", "prune_train_mode",
        "prune_iterations", "schedule", "prune_unit", "compute_aware", "keep_alive", "invert", "train",
        "draws", "active_rows", "tile", "smart_ratio_ends",
    },
    "compare": (_UNTRAINED - {"precision", "batchnorm"}) | {
        "active_rows", "batch_size", "com_exp", "compute_aware", "draws", "effective_type", "invert", "keep_alive",
        "masks_from", "prune_batchnorm", "prune_bias", "prune_examples", "prune_iterations", "prune_residual",
        "prune_train_mode", "prune_unit", "pruner", "pruning_type", "runs", "sample", "schedule", "shuffle",
        "target_density", "target_sparsity", "tile", "validation", "weights_from",
    },
    "anatomy": {
        "active_rows", "com_exp", "compute_aware", "draws", "effective_type", "invert", "keep_alive", "pre_iterations",
        "pretrained", "prune_examples", "prune_iterations", "prune_train_mode", "prune_unit", "pruner", "pruning_type",
        "reinitialize", "runs", "sample", "schedule", "shuffle", "target_density", "target_sparsity", "tile", "train",
    },
    **dict.fromkeys(("unit-conservation", "layer-conservation"), _OF_RAW_SCORES),
    "imp-conservation": {
        "pretrained", "pre_iterations", "shuffle", "reinitialize", "pruner", "pruning_type", "target_sparsity",
        "target_density", "com_exp", "effective_type", "prune_examples", "prune_train_mode", "prune_iterations",
        "schedule", "prune_unit", "compute_aware", "keep_alive", "invert", "draws", "active_rows", "tile", "train",
        "prune_bias", "prune_batchnorm", "prune_residual", "dense_classifier",
    },
    "schedule-conservation": _UNTRAINED | {
        "active_rows", "batch_size", "compute_aware", "draws", "effective_type", "invert", "keep_alive", "mean",
        "prune_examples", "prune_train_mode", "prune_unit", "pruner", "pruning_type", "shuffle", "std", "tile",
        "validation",
    },
    **dict.fromkeys(("layer-collapse", "quotas", "effective-gap"), _OF_ORDERS),
}  # fmt: skip
"""The flags that an experiment refuses, with all else at its default: a pair that is missing here must act."""

CONTEXTS = (
    "", "--pruner=dense", "--train=0", "--train=0 --pruner=dense", "--pruner=random", "--pruner=magnitude",
    "--prune_unit=unit", "--reinitialize", "--reinitialize --pruner=random",
    "--pruner=dense --masks_from=masks.safetensors",
    "--lr_schedule=cosine", "--lr_schedule=cyclic", "--pruner=dense --lr_schedule=cyclic", "--optimizer=adam",
    "--lr_drops=", "--arm=vanilla", "--ramp=constant", "--start_step=0.5 --end_step=0.5",
    *(f"--freeze_every=1 --batch_size=700 {more}" for more in (
        "--quantize=0", "--unflag", "--fine_tune_length=0", "--fine_tune_weight_decay=0", "--freeze_rule=threshold",
        "--score_penalty=none", "--weight_init=unchanged", "--algorithm=iterative-edge-popup",
    )),
    "--algorithm=hypercube", "--algorithm=edge-popup", "--algorithm=global-edge-popup", "--algorithm=smart-ratio",
)  # fmt: skip
