"""The size report against formats that libraries build, and against PyTorch's own counter."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from torch.utils.flop_counter import FlopCounterMode

from Layers import Masks, prunable
from Models import build
from Utils.connectivity import effective_masks
from Utils.sparsity.measure import measure
from Utils.sparsity.size_report import size_report, sizes


@pytest.mark.parametrize(("name", "shape"), [("lenet5", (3, 32, 32)), ("imagenet/mobilenet_v3_small", (3, 64, 64))])
def test_bytes_are_those_of_real_formats(name, shape):
    model = build(name, shape)
    Masks({key: torch.rand(mask.shape) < 0.2 for key, (_, mask) in prunable(model).items()}).install(model)
    measured = measure(model, shape)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    found = sizes(measured.layers, parameters, measured.totals["macs"])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, *shape))
    assert 2 * found["before"].macs == counter.get_total_flops()
    other = parameters - measured.totals["prunable"]
    kept = {"before": None, "direct": Masks.of(model), "effective": effective_masks(model, shape)}
    for version, masks in kept.items():
        csr = bits = values = 0
        for key, (weight, mask) in prunable(model).items():
            used = torch.ones_like(mask) if masks is None else masks[key]
            matrix = csr_matrix((used * (weight.abs() + 1)).flatten(1).detach().numpy().astype(np.float32))
            csr += matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
            bits += np.packbits(used.numpy().ravel()).nbytes
            values += 4 * int(used.sum())
        assert found[version].csr == csr + 4 * other and found[version].bitmask == bits + values + 4 * other
        assert found[version].parameters == values // 4 + other and found[version].dense == 4 * parameters


LAYER = st.tuples(st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), st.floats(0, 1))


@hypothesis_settings(deadline=None, max_examples=30)
@given(st.lists(LAYER, min_size=1, max_size=4))
def test_less_kept_is_never_larger(layers):
    rows = []
    for index, (rows_, columns, one, two) in enumerate(layers):
        size = rows_ * columns
        direct = int(size * max(one, two))
        effective = min(direct, int(size * min(one, two)))
        kept = {"kept_direct": direct, "kept_effective": effective}
        macs = {"macs": size, "direct_macs": direct, "effective_macs": effective}
        rows.append({"layer": f"l{index}", "shape": f"{rows_}x{columns}", "size": size, **kept, **macs})
    table = pd.DataFrame(rows)
    found = sizes(table, int(table["size"].sum()) + 5, int(table["macs"].sum()) + 7)
    for field in ("parameters", "macs", "dense", "csr", "bitmask"):
        before, direct, effective = (getattr(found[version], field) for version in ("before", "direct", "effective"))
        assert before >= direct >= effective > 0
    report = size_report(table, int(table["size"].sum()) + 5, int(table["macs"].sum()) + 7).splitlines()
    assert len(report) == 6 and len({len(line) for line in report[1:]}) == 1


def test_the_report_in_words():
    layers = pd.DataFrame([{"layer": "fc.weight", "shape": "10x100", "size": 1000, "kept_direct": 100,
                            "kept_effective": 50, "macs": 1000, "direct_macs": 100, "effective_macs": 50}])  # fmt: skip
    text = [line.split() for line in size_report(layers, 1010, 1000).splitlines()]
    assert text[1] == ["parameters", "1,010", "110", "(9.18x)", "60", "(16.8x)"]
    assert text[2] == ["multiply-adds", "1,000", "100", "(10x)", "50", "(20x)"]
    assert text[4][-4:] == [f"{4 * (10 + 200 + 11):,}", "(4.57x)", f"{4 * (10 + 100 + 11):,}", "(8.35x)"]
    assert text[5][-4:] == [f"{4 * 110 + 125:,}", "(7.15x)", f"{4 * 60 + 125:,}", "(11.1x)"]


def test_cells_keep_their_space_at_any_ratio():
    layers = pd.DataFrame({"shape": ["1000x1000"], "size": [10**6], "kept_direct": [3], "kept_effective": [1]})
    layers = layers.assign(
        macs=layers["size"], direct_macs=layers["kept_direct"], effective_macs=layers["kept_effective"]
    )
    line = next(line for line in size_report(layers, 10**6, 10**6).splitlines() if "multiply-adds" in line)
    assert line.split() == ["multiply-adds", "1,000,000", "3", "(3.33e+05x)", "1", "(1e+06x)"]
