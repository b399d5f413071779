"""What the theory experiments execute: the function `run` of each."""
