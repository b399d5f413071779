"""Operations of the graph: one rule each for ranks, forward and backward; `table.py` lists all rules."""
