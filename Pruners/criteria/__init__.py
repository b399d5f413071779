"""Pruning criteria, one file per criterion: each scores the weights of a network; higher scores are kept longer."""
