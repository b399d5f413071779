"""Training: the loop, optimizers, learning rates, evaluation, precision, hooks and the run context."""
