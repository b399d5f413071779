"""Demo: the effective sparsity of pruned networks, and its effect on their accuracy.

    python demo.py

It needs no flags, no data set and no internet connection. First it prunes LeNet-300-100 to compressions from 10 to
100,000, which count all kept weights (direct) or only those with an effect (effective). Then it trains some of these
networks on the embedded digits. All results go to Results/demo.

Takes about a minute on two cores.
"""

import sys
import warnings
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from Pruners.registry import parts, style
from Utils.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = Path("Results/demo")
PRUNERS = ("random/igq", "random/uniform", "snip", "synflow")
EXPONENTS = [Decimal(fifths) / 5 for fifths in range(5, 26)]
TRAINED = ("1.5", "2", "2.5", "3")
TRAINING = ("--iterations=600", "--lr_drops=300,450", "--evaluate_every=200")


def main(arguments: Sequence[str]) -> int:
    """Execute the demo; returns the exit status: 0, 1 if a network failed, 2 for an invalid request."""
    if arguments:
        is_help = arguments[0] in ("-h", "--help")
        print(__doc__ if is_help else f"demo.py: it takes no flags, not {arguments[0]}; run python demo.py",
              file=sys.stdout if is_help else sys.stderr)  # fmt: skip
        return 0 if is_help else 2
    try:
        with warnings.catch_warnings():
            # The demo shows collapsed networks on purpose; a warning for each would bury its output.
            warnings.simplefilter("ignore")
            return tour()
    except UserError as error:
        print(f"demo.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ndemo.py: interrupted; trained networks are kept, the next start resumes from there", file=sys.stderr)
        return 130


def tour() -> int:
    """Prune, print, draw; train, print, draw; print further commands."""
    import pandas as pd

    from Utils.figures.demo import accuracy_follows, reached
    from Utils.figures.look import save_figure
    from Utils.results.atomic_files import replace_file
    from Utils.results.store import Store

    Store(FOLDER).check_writable()
    print(
        "LeNet-300-100 has 266,200 weights. Pruned to a compression of 100, it keeps 2,662. But how many of these lie\n"
        "on a path of kept weights from an input to an output? Only they are effective; the others do nothing.\n"
    )
    rows = pd.DataFrame(compressions())
    replace_file(FOLDER / "compressions.csv", rows.to_csv(index=False).encode())
    print(f"\n{reached_table(rows)}\n")
    pictures = save_figure(reached(rows, style), FOLDER / "figures" / "demo_compressions")
    print("Next, some of them are trained on the embedded digits, all pruned to the same direct compressions.\n")
    failed, networks = train_some()
    print(f"\n{accuracy_table(networks)}\n")
    pictures += save_figure(accuracy_follows(networks, style), FOLDER / "figures" / "demo_accuracies")
    print("Look at these figures:")
    for picture in pictures:
        if picture.suffix == ".png":
            print(f"  {picture}")
    print(
        "\nNext, prune by effective sparsity, on MNIST (or the digits, if MNIST is not available):\n"
        "  python main.py --pruner=snip --target_sparsity=0.99 --pruning_type=effective\n"
        f"and draw every figure of the networks above:\n  python visualization.py --out_path={FOLDER}"
    )
    return 1 if failed else 0


def compressions() -> Iterator[dict]:
    """One row for each pruner, compression and pruning type, with the direct and effective compression reached."""
    import torch
    from tqdm import tqdm

    from Experiments.common.network import initial_model, load_data
    from Experiments.planning.resolve import resolve
    from Pruners import make_pruner
    from Utils import randomness
    from Utils.config.settings import Settings
    from Utils.config.target import Target
    from Utils.connectivity import compression_curve

    settings = resolve(Settings().with_values(data="digits")).settings
    data = load_data(settings.data_spec, torch.device("cpu"))
    model = initial_model(settings.network_spec, data)
    batches = data.prune_examples(0, settings.pruning.prune_examples or 1, settings.training.batch_size or 1)
    count = len(PRUNERS) * len(EXPONENTS)
    with tqdm(total=count, desc="pruning", unit="network", dynamic_ncols=True, disable=None) as bar:
        for name in PRUNERS:
            curve = None
            for exponent in EXPONENTS:
                target = Target(com_exp=exponent)
                # One order of scores serves all targets, except for criteria that prune step by step to a target.
                if curve is None or any(criterion.depends_on_target for criterion in parts(name)):
                    generator = randomness.generator(0, "random scores")
                    scores = make_pruner(name).score(model, batches, target, generator)
                    curve = compression_curve(model, scores, data.input_shape)
                kept = target.kept(len(curve) - 1)
                effective = int(torch.searchsorted(curve, kept))
                for pruning_type, direct in (("direct", kept), ("effective", effective)):
                    row = {"pruner": name, "pruning_type": pruning_type, "target_compression": 1 / target.density}
                    yield row | _compression_columns(curve, kept, direct)
                bar.set_postfix_str(f"{name} {1 / target.density:.4g}x: {int(curve[kept])} of {kept} effective")
                bar.update()


def _compression_columns(curve: "Tensor", target_kept: int, direct: int) -> dict:
    """Kept weights and compressions of a network with `direct` kept weights, of which `curve[direct]` are effective."""
    total, effective = len(curve) - 1, int(curve[direct])
    return {
        "target_kept": target_kept, "kept_direct": direct, "kept_effective": effective,
        "direct_compression": total / direct,
        "effective_compression": total / effective if effective else float("inf"),
    }  # fmt: skip


def reached_table(rows) -> str:
    """Table of a few compressions: effective by direct compression, and direct by effective compression."""
    lines = [
        "                pruned to a DIRECT compression                    pruned to an EFFECTIVE compression",
        "                -> effective compression reached                  -> direct compression that it takes",
        f"{'compression':>12}  "
        + "".join(f"{name:>15}" for name in PRUNERS)
        + "  "
        + "".join(f"{n:>15}" for n in PRUNERS),
    ]
    for index, (target, level) in enumerate(rows.groupby("target_compression")):
        if index % 2 == 0 or target == rows["target_compression"].max():
            cells = level.set_index(["pruner", "pruning_type"])
            reached = [_number(cells.loc[(name, "direct"), "effective_compression"]) for name in PRUNERS]
            needed = [_number(cells.loc[(name, "effective"), "direct_compression"]) for name in PRUNERS]
            lines.append(f"{_number(target):>12}  " + "".join(f"{cell:>15}" for cell in reached)
                         + "  " + "".join(f"{cell:>15}" for cell in needed))  # fmt: skip
    return "\n".join(lines)


def _number(value: float) -> str:
    return "collapsed" if value == float("inf") else f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def train_some():
    """Train a few directly pruned networks unless they are complete; returns the number of failures, and their rows."""
    import pandas as pd

    from Experiments.planning.command_line import read
    from Experiments.planning.plan import plan
    from Utils.campaign.campaign import run_campaign
    from Utils.results import load_summaries
    from Utils.results.store import Store

    networks = plan(read(["--data=digits", "--pruner", *PRUNERS, "--com_exp", *TRAINED, *TRAINING]))
    failed = run_campaign(networks, Store(FOLDER))
    rows = load_summaries(FOLDER)
    return failed, pd.DataFrame(rows[rows["run"].isin([run.key for run in networks.runs])])


def accuracy_table(rows) -> str:
    """Table of networks by effective compression, with rank correlations of accuracy and compression."""
    lines = [f"{'pruner':>15}{'direct':>12}{'effective':>12}{'top-1':>9}"]
    for row in rows.sort_values(["effective_compression", "direct_compression"]).itertuples():
        direct, effective = _number(row.direct_compression), _number(row.effective_compression)
        lines.append(f"{row.pruner:>15}{direct:>12}{effective:>12}{row.top1:>9.3f}")
    ranks = rows[["top1", "direct_compression", "effective_compression"]].rank()
    direct, effective = (ranks["top1"].corr(ranks[f"{kind}_compression"]) for kind in ("direct", "effective"))
    return "\n".join([
        *lines, "",
        f"The rank correlation of accuracy with direct compression is {direct:.2f}, with effective {effective:.2f}.",
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
