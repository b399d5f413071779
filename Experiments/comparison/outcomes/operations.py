"""Operations of training and inference, as shares of those of the dense network.

One multiply-add counts as two operations. Inference takes one forward pass per image. A step of training takes three
for each image of its batch: the forward pass, and twice as much for the gradients of inputs and of weights. What the
optimizer, normalisation and the criterion of a pruner do is left out.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from Utils.results.digests import read_record
from Utils.results.summaries import read_table

OPERATIONS_PER_MAC = 2
PASSES_PER_STEP = 3


def inference_operations(macs: float) -> float:
    """Operations for one image."""
    return OPERATIONS_PER_MAC * macs


def training_operations(periods: Iterable[tuple[float, float]], batch_size: int) -> float:
    """Operations of a training in periods of constant masks: (steps, multiply-adds for one image) of each."""
    return OPERATIONS_PER_MAC * PASSES_PER_STEP * batch_size * sum(steps * macs for steps, macs in periods)


def operations_of(folder: str | Path) -> dict[str, float]:
    """The operations of a stored run, in columns.

    `inference`, `direct_inference` and `effective_inference` count all weights, kept weights and effective weights;
    `..._share` divides by the first. `training` counts the kept weights of each step: in all levels of `multishot`; of
    masks that change while a network trains; in a search for a mask all weights, for all scores have gradients.
    `training_share` divides by a dense training of the steps in the column `iterations` of the summary, so that it can
    be more than 1; it is NaN for a network that was not trained. A dense network that is trained for its scores alone
    is a run of its own, and a branch does not count.
    """
    summary = read_table(folder, "summary")
    assert summary is not None
    row = summary.iloc[0]
    macs = {name: float(row[name]) for name in ("macs", "direct_macs", "effective_macs")}
    batch_size = int(read_record(Path(folder)).values["settings"]["batch_size"])
    training = training_operations(_periods(folder, row), batch_size)
    dense = training_operations([(row["iterations"], macs["macs"])], batch_size)
    return {
        "inference": inference_operations(macs["macs"]),
        "direct_inference": inference_operations(macs["direct_macs"]),
        "effective_inference": inference_operations(macs["effective_macs"]),
        "direct_inference_share": macs["direct_macs"] / macs["macs"],
        "effective_inference_share": macs["effective_macs"] / macs["macs"],
        "training": training,
        "training_share": training / dense if dense else np.nan,
    }


def _periods(folder: str | Path, row: pd.Series) -> list[tuple[float, float]]:
    """Steps and direct multiply-adds of each period of constant masks; the final masks where others are not known."""
    steps, macs = float(row["iterations"]), float(row["direct_macs"])
    levels, changes, search = (read_table(folder, name) for name in ("levels", "sparsity", "search"))
    if levels is not None and "direct_macs" in levels:
        # Iterations are numbers of steps, of which a rewound training leaves the first ones out.
        trainings = read_table(folder, "trainings")
        assert trainings is not None
        numbers = trainings.groupby(["level", "weights"], sort=False)["iteration"]
        return list(zip(numbers.max() - numbers.min(), levels["direct_macs"], strict=True))
    if changes is not None and "direct_macs" in changes:
        changes = changes.drop_duplicates("iteration", keep="last")  # what is trained after several at one step
        return list(zip(np.diff([*changes["iteration"], steps]), changes["direct_macs"], strict=True))
    if search is not None:
        last = search.groupby("phase")["iteration"].max()
        searched = float(last.get("search", 0))
        return [(searched, float(row["macs"])), (float(last.get("fine-tune", searched)) - searched, macs)]
    return [(steps, macs)]
