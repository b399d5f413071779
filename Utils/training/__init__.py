"""Training: the loop, optimizers, learning rates, evaluation, precision, callbacks and the run context."""
