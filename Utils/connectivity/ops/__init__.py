"""Operations of the graph: how each carries ranks, forward and backward; `table.py` lists them."""
