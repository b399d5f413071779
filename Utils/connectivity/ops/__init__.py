"""Operations of the graph: one class per kind, with all that the toolkit knows of it; `table.py` lists the names."""
