"""Studies for figures of comparisons, and what these figures draw."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd


def small_and_large(folder: Path, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Rows of a study with every table, and of a smaller one, which is not drawn."""
    folders = [folder / "small", folder / "large"]
    for place in folders:
        place.mkdir()
        (place / "run.json").write_text('{"status": "complete"}')
        for name, table in tables.items():
            (table.head(3) if place is folders[0] else table).to_csv(place / f"{name}.csv", index=False)
    return pd.DataFrame({"folder": list(map(str, folders))})


def drawn(axes) -> dict[str, np.ndarray]:
    """The points of the lines with a name."""
    return {line.get_gid(): np.asarray(line.get_xydata()) for line in axes.lines if line.get_gid()}


def legend(figure) -> list[str]:
    """The texts of the legend."""
    return [text.get_text() for text in figure.legends[0].get_texts()]
