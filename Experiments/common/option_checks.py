"""Checks of options that several experiments share. Loads no PyTorch."""

from Utils.config.fields import Check

RUN_FRACTION: Check = (lambda value: 0 <= value <= 1, "a fraction of the run, from 0 to 1")
