"""Which flags of the original programs stand for ours?

Dashes and underscores are the same in every flag, so that `--weight-decay` needs no line here.
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
"""Their name and ours."""

SWITCHES = {"no_cuda": "--device=cpu"}
"""Switches of theirs that are a value of ours."""

GONE = {
    "expid": "runs are named by their settings",
    "gpu": "choose one with the variable CUDA_VISIBLE_DEVICES",
    "model_class": "a family is part of the name, as in --architecture=imagenet/resnet18",
    "run_name": "runs are named by their settings",
    "test_batch_size": "tests use the largest batches that change nothing",
    "verbose": "progress is always shown on a terminal",
}
"""What needs no flag here, and why."""
