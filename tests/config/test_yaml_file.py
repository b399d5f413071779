"""Files of flags (`--config`): lists, flags that win over them, and mistakes."""

import pytest
from commands import QUICK, runs

import main
from Utils.config.fields import plain
from Utils.results import load_summaries


def test_a_file_of_flags(tmp_path, capsys):
    config = tmp_path / "campaign.yml"
    config.write_text("pruner: [random, mag]\ntarget_sparsity: [0.50, 0.9]\niterations: 20\nsave: yes\nlr_drops: []\n")
    assert main.main([f"--config={config}", *QUICK[:1], f"--out_path={tmp_path}/out"]) == 0
    rows = load_summaries(tmp_path / "out")
    assert sorted(zip(rows["pruner"], rows["target_sparsity"], strict=True)) == [
        ("mag", 0.5), ("mag", 0.9), ("random", 0.5), ("random", 0.9),
    ]  # fmt: skip
    words = [f"--config={config}", "--data=digits", f"--out_path={tmp_path}/out", "--dry_run"]
    capsys.readouterr()
    assert main.main([*words, "--pruner=snip", "--com_exp=1"]) == 0
    out = capsys.readouterr().out
    assert "snip direct 10^1x" in out and "random" not in out and "1 to do" in out
    assert main.main([*words, "--epochs=1"]) == 0
    assert "4 to do" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["target_density: [0.02, 0.1]", "target_sparsity: [0.98, 0.9]", "com_exp: [1, 2]"])
@pytest.mark.parametrize(("typed", "expected"), [
    ("--target_density=0.050", ["0.95"]), ("--target_sparsity=0.5", ["0.5"]), ("--com_exp=3", [None]),
    ("--sample=1", None),
])  # fmt: skip
def test_a_typed_target_replaces_any_spelling_of_the_file(tmp_path, content, typed, expected):
    config = tmp_path / "campaign.yml"
    config.write_text(f"pruner: random\n{content}\n")
    targets = [one.pruning.target_sparsity for one in runs(f"--config={config}", typed)]
    usual = [None, None] if "com_exp" in content else ["0.98", "0.9"]
    assert [None if target is None else str(plain(target)) for target in targets] == (expected or usual)


@pytest.mark.parametrize(("content", "message"), [
    ("target_density: 10", "--config={}: --target_density must be a fraction, greater than 0 and at most 1 (for 10 p"),
    ("data: digits\ntarget_density: 0.1\ncom_exp: 1", "--target_density and --com_exp both set the target; give one"),
    ("pruner: [snip, snpi]", "--config={}: unknown pruner 'snpi'; did you mean 'snip'?"),
    ("prunner: snip", "--config={}: unknown flag --prunner; did you mean --pruner?"),
    ("- snip", "--config={} must hold lines of the form 'flag: value'"),
    ("pruner: {snip: 1}", "--config={}: pruner must be a value or a list of values"),
    ("pruner: [snip", "--config={} is not valid YAML"),
    ("pruner: snip\npruner: random", "--config={} is not valid YAML: pruner is given twice"),
    ("target-sparsity: 0.9\ntarget_sparsity: 0.8", "--config={} is not valid YAML: target_sparsity is given twice"),
    ("no_train:", "--config={}: --no-train: ignored explicit argument ''; write --train=0"),
    ("config: other.yml", "--config={} cannot name another file"),
    (None, "--config={} is unreadable: there is no such file"),
])  # fmt: skip
def test_mistakes_in_a_file_of_flags(tmp_path, capsys, content, message):
    config = tmp_path / "campaign.yml"
    if content is not None:
        config.write_text(content)
    assert main.main([f"--config={config}"]) == 2
    error = capsys.readouterr().err
    assert message.format(config) in error and error.count("\n") == 1
