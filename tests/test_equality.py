"""The comparison of two commits' results notices what differs, and only that."""

import json

import numpy as np
import pytest
from equality import is_same
from PIL import Image

RECORD = {"status": "complete", "settings": {"out_path": "a", "lr": 0.1}, "seconds": 1.0, "commit": "x"}


def write(path, content):
    if path.suffix == ".png":
        Image.fromarray(np.array(content, dtype=np.uint8)).save(path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(content))
    else:
        path.write_text(content)
    return path


@pytest.mark.parametrize(("suffix", "one", "other"), [
    (".csv", "top1,train_seconds\n0.5,1\n", "top1,train_seconds\n0.5,2\n"),
    (".json", RECORD, {**RECORD, "seconds": 2.0, "commit": "y", "settings": {"out_path": "b", "lr": 0.1}}),
    (".png", [[1, 2]], [[1, 2]]), (".safetensors", "masks", "masks"),
])  # fmt: skip
def test_seconds_folders_and_commits_may_differ(tmp_path, suffix, one, other):
    assert is_same(write(tmp_path / f"one{suffix}", one), write(tmp_path / f"other{suffix}", other))


@pytest.mark.parametrize(("suffix", "one", "other"), [
    (".csv", "top1\n0.5\n", "top1\n0.50000001\n"), (".csv", "top1\n0.5\n", "top1,top5\n0.5,1\n"),
    (".csv", "top1\n0.5\n", "top1\n0.5\n0.5\n"), (".json", RECORD, {**RECORD, "status": "failed"}),
    (".json", RECORD, {**RECORD, "settings": {"out_path": "a", "lr": 0.2}}), (".png", [[1, 2]], [[1, 3]]),
    (".safetensors", "masks", "mask5"),
])  # fmt: skip
def test_a_difference_is_noticed(tmp_path, suffix, one, other):
    assert not is_same(write(tmp_path / f"one{suffix}", one), write(tmp_path / f"other{suffix}", other))
