"""Flag aliases: flags of the original programs, and the flags that replace them here.

Dashes and underscores are interchangeable in every flag, so `--weight-decay` needs no entry.
"""

FLAGS = {
    "compression": "com_exp",
    "dataset": "data",
    "eval_step": "evaluate_every",
    "force_train": "overwrite",
    "final_sparsity": "target_sparsity",
    "learning_rate": "lr",
    "model": "architecture",
    "num_valid": "validation",
    "optim": "optimizer",
    "output_dir": "out_path",
    "post_epochs": "epochs",
    "prune_freq": "prune_every",
    "prune_type": "prune_unit",
    "ramp_cycle_step": "ramp_cycle",
    "ramp_type": "ramp",
    "prune_epochs": "prune_iterations",
    "result_dir": "out_path",
    "seed": "sample",
    "steps": "iterations",
    "train_batch_size": "batch_size",
}
"""Original flag, and the flag here."""

SWITCHES = {"no_cuda": "--device=cpu"}
"""Original switch, and the flag with a value that replaces it."""

GONE = {
    "expid": "runs are named by their settings",
    "gpu": "choose one with the variable CUDA_VISIBLE_DEVICES",
    "model_class": "the family is part of the name, as in --architecture=imagenet/resnet18",
    "run_name": "runs are named by their settings",
    "test_batch_size": "evaluation uses the largest batches that change no result",
    "verbose": "progress is always shown on a terminal",
}
"""Original flag without a counterpart here, and the reason."""
