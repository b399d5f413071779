"""What is executed: the function `run(settings, inputs, context)` of each experiment, one file each; loads PyTorch."""
