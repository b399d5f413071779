"""Checking of networks for `--check`: a report about each, and the pruners and flags that it would be refused with."""
