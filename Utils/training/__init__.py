"""Training: the loop, optimizers, learning rates, evaluation, precision and the context of a run."""
