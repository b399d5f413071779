"""Mistakes as users type them: each is answered in one line on the error output, with status 2, and nothing is kept."""

from pathlib import Path

import pytest
import torch
from conftest import OWN_NETWORK
from PIL import Image

import demo
import main
import visualization
from Layers import Masks
from Utils.data import dataset, sources

OWN = str(OWN_NETWORK)
QUICK = "--data=digits --train=0"
SEARCH = "--data=digits --experiment=supermask"
NUMBERS = " ".join(map(str, range(2, 402)))

MAIN = [
    # Names
    ("--pruner=snp", "unknown pruner 'snp'; did you mean 'snip'? (valid: dense"),
    ("--pruner=random/erg", "did you mean 'erk'? (valid: global, uniform, uniform_plus, erk, igq"),
    ("--architecture=densenet121", "did you mean 'imagenet/densenet121'? (see python main.py --list architectures)"),
    ("--architecture=imagenet/resnet19", "did you mean 'imagenet/resnet1"),
    ("--data=cifar", "unknown data set 'cifar'; did you mean 'cifar10'?"),
    ("--experiment=single", "unknown experiment 'single'; did you mean 'singleshot'?"),
    ("--list=pruner", "unknown value of --list 'pruner'; did you mean 'pruners'?"),
    ("--optimizer=sdg", "did you mean 'sgd'? (valid: adam"),
    # Flags
    ("--prune=snip", "unknown flag --prune; did you mean --pruner?"),
    ("--target-sparsty=0.9", "unknown flag --target-sparsty; did you mean --target_sparsity?"),
    ("--expid=mine", "there is no flag --expid: runs are named by their settings"),
    ("--gpu 0", "there is no flag --gpu: choose one with the variable CUDA_VISIBLE_DEVICES"),
    ("snip", "'snip' belongs to no flag; see --help"),
    ("--lr", "--lr needs a value"),
    ("--pruner=", "--pruner needs a value"),
    ("--dry_run=perhaps", "--dry_run must be 0 or 1, not 'perhaps'"),
    # Values
    ("--target_sparsity=90", "--target_sparsity must be at least 0 and less than 1, not 90"),
    ("--target_sparsity=0,9 --target_sparsity=1", "--target_sparsity must be at least 0 and less than 1, not 9"),
    ("--target_density=10", "--target_density must be a fraction, greater than 0 and at most 1 (for 10 percent write"),
    ("--com_exp=-1", "--com_exp must be between 0 and 300, not -1"),
    ("--sample=a", "--sample must be a whole number, not 'a'"),
    ("--image_size=0", "--image_size must be one or two numbers greater than 0, not 0"),
    ("--image_size 3 32 32", "--image_size must be one or two numbers greater than 0, not 3,32,32"),
    ("--std=0", "--std must be one number greater than 0, or one for each of three channels, not 0.0"),
    ("--mean 0.1 0.2", "--mean must be one number, or one for each of three channels, not 0.1,0.2"),
    ("--epochs=1 --iterations=5", "--epochs and --iterations both set the length of training; give one of them"),
    ("--data=digits --target_density=0.1 --com_exp=1", "--target_density and --com_exp both set the target; give"),
    ("--no_cuda=maybe", "--no_cuda is a switch for --device=cpu; leave 'maybe' out"),
    ("--pruner=SNIP", "unknown pruner 'SNIP'; did you mean 'snip'?"),
    ("--architecture=nets.py", "does not name the function that makes the network; write nets.py:FACTORY"),
    # Limits
    ("--sample=9223372036854775808", "--sample must be below 2^63, not 9223372036854775808"),
    ("--threads=9999999999999", "--threads must be between 1 and 1024, not 9999999999999"),
    ("--data=digits --prune_iterations=1000000000000", "--prune_iterations must be between 1 and 100,000"),
    ("--data=digits --experiment=union-mask --cycles=9223372036854775807", "is more than the 1425 steps in which it"),
    (f"--data=digits --experiment=multishot --rewind={'9' * 5000}", "--rewind must be init, none, lr or a number"),
    (f"--sample {NUMBERS} --prune_examples {NUMBERS}", "these values ask for 160,000 runs; give one command at most"),
    (f"--dry_run --sample {NUMBERS} --lr {NUMBERS}", "these values ask for 160,000 runs; give one command at most"),
    ("--architecture=nets.py:\udcff", "'--architecture=nets.py:\\udcff' is not UTF-8"),
    (f"{QUICK} --weights_from={'x' * 300}", "is not a file, a run's folder, or the name of a run in"),
    (f"{QUICK} --architecture={'x' * 300}.py:make", f"there is no file {'x' * 300}.py"),
    (f"{QUICK} --out_path={'x' * 300}", "File name too long"),
    # Combinations
    ("--list=pruners --pruner=snip", "--list runs nothing, so --pruner has no effect; leave it out"),
    ("--data=digits --dry_run --architecture=imagenet/swin_t", "qkv.weight is read past its layer"),
    ("--data=digits --train=0 --lr=0.1", "--lr has no effect with --train=0; leave it out"),
    ("--data=digits --pruner=random --prune_examples=5", "--prune_examples has no effect on pruner random"),
    ("--data=digits --batch_size=5000", "--batch_size=5000 is more than the 1437 training images"),
    ("--data=digits --pruner=synflow --prune_train_mode=0", "--prune_train_mode has no effect on pruner synflow"),
    ("--data=digits --schedule=linear", "--schedule has no effect on pruner snip, which prunes in one round"),
    ("--data=digits --schedule=liner", "unknown schedule 'liner'; did you mean 'linear'? (valid: exponential"),
    ("--data=digits --prune_iterations=0", "--prune_iterations must be between 1 and 100,000, not 0"),
    ("--data=digits --prune_iterations=3 --schedule=one-shot", "--schedule=one-shot is one round, not"),
    ("--data=digits --lr_schedule=cosine --lr_drops=5", "--lr_drops has no effect with --lr_schedule=cosine"),
    ("--data=digits --lr_drops 5 30 --iterations=30", "--lr_drops=30 must be less than the 30 iterations of training"),
    (f"{QUICK} --architecture=union/resnet20 --dense_classifier", "union/resnet20: fc has no mask to remove"),
    ("--data=digits --no-train=1", "--no-train: ignored explicit argument '1'; write --train=0"),
    ("--data=digits --pretrained", "--pretrained has no effect on lenet300100, for which torchvision has no weights"),
    ("--data=digits --lr_cycle=5", "--lr_cycle has no effect with --lr_schedule=step"),
    ("--data=digits --lr_schedule=cosinus", "did you mean 'cosine'? (valid: constant, cosine"),
    ("--data=digits --pre_iterations=3", "--pre_iterations has no effect on pruner snip, which scores no trained"),
    ("--data=digits --pruner=dense --shuffle", "--shuffle has no effect on pruner dense, which prunes nothing"),
    ("--data=digits --pruner=dense --invert", "--invert has no effect on pruner dense, which prunes nothing"),
    (f"{QUICK} --prune_residual", "--prune_residual has no effect on lenet300100: Sequential has no identity"),
    (f"{QUICK} --masks_from=nowhere", "--masks_from=nowhere is not a file, a run's folder, or the name of a run in"),
    (f"{QUICK} --masks_from=other.pt", "--masks_from=other.pt does not fit the network: it lacks fc1.bias"),
    (f"{QUICK} --masks_from=small.safetensors", "masks of different networks: these lack fc1.weight, fc2.weight"),
    (f"{QUICK} --pruner=random/uniform_plus", "uniform_plus keeps the first convolution and a fifth of the last layer"),
    (f"{QUICK} --pruner=random/uniform_plus --architecture=lenet5 --target_sparsity=0.991",
     "so the highest direct sparsity is 0.98999514"),
    (f"{QUICK} --keep_alive --com_exp=6", "weights may not be pruned"),
    ("--data=digits --validation=1436", "--validation=1436 must be less than the 1437 training images, by"),
    (f"{QUICK} --mean 0.1 0.2 0.3", "--mean has 3 values; give one value, or one per image channel (1)"),
    (f"{QUICK} --image_size=90000", "images of 90000 x 90000 take 1.36e+04 GiB, this machine has"),
    (f"{QUICK} --architecture=lenet5 --image_size=8", "lenet5 needs an input of at least 16 x 16, not 8 x 8"),
    (f"{QUICK} --architecture=imagenet/inception_v3 --image_size=32", "does not run on an input of 3x32x32"),
    (f"{QUICK} --architecture=imagenet/vit_b_16 --image_size=224", "out_proj.weight is read past its layer"),
    # Searches for masks
    (f"{SEARCH} --algorithm=gemminer", "unknown value of --algorithm 'gemminer'; did you mean 'gem-miner'? (valid: "),
    ("--data=digits --pruner=gem-miner", "of gem-miner are learned: write --experiment=supermask --algorithm=gem-mine"),
    (f"{SEARCH} --pruner=edge-popup", "--pruner has no effect with --experiment=supermask, whose masks are found by"),
    ("--data=digits --pruner=gemminer", "unknown pruner 'gemminer'; did you mean 'gem-miner'?"),
    (f"{SEARCH} --pruner=snip", "--pruner has no effect with --experiment=supermask, whose masks are found by --algo"),
    (f"{SEARCH} --epochs=5 --freeze_every=5", "freezes nothing in a search of 5 epochs, because nothing is frozen aft"),
    (f"{SEARCH} --epochs=5 --freeze_every=9", "in a search of 5 epochs, because nothing is frozen after "
     "epoch 0: give at most 4"),
    (f"{SEARCH} --epochs=1", "search for at least 2 epochs"),
    (f"{SEARCH} --epochs=9 --freeze_every=3 --stop_freezing=2", "in a search of 9 epochs until epoch 2, because nothi"),
    (f"{SEARCH} --epochs=9 --stop_freezing=9", "--stop_freezing=9 comes too late: the last epoch of the search is 8"),
    (f"{SEARCH} --train=0", "--experiment=supermask trains masks and weights, so it excludes --train=0"),
    (f"{SEARCH} --algorithm=smart-ratio --target_density=0.00001", "smart ratios cannot keep 2.662 of 266200 weights:"),
    (f"{SEARCH} --penalty_exponents=1", "--penalty_exponents must be two numbers greater than 0, not 1.0"),
    (f"{SEARCH} --penalty_exponents 1 2", "--penalty_exponents has no effect without --score_penalty=variance; leave"),
    (f"{SEARCH} --sanity_checks=shufle", "unknown value of --sanity_checks 'shufle'; did you mean 'shuffle'? (valid: "),
    (f"{SEARCH} --shuffle", "--shuffle has no effect with --experiment=supermask; see --sanity_checks; leave it out"),
    (f"{SEARCH} --algorithm=edge-popup --unflag", "--unflag has no effect with --algorithm=edge-popup; leave it out"),
    (f"{SEARCH} --algorithm=edge-popup --freeze_every=2", "--freeze_every has no effect with --algorithm=edge-popup"),
    (f"{SEARCH} --algorithm=hypercube --target_density=0.1", "with --algorithm=hypercube, which has no target; leave"),
    (f"{SEARCH} --freeze_rule=threshold --com_exp=1", "--freeze_rule=threshold, which has no target; leave it out"),
    (f"{SEARCH} --smart_ratio_ends 0.1 0.2", "--smart_ratio_ends has no effect with --algorithm=gem-miner; leave it o"),
    (f"{SEARCH} --algorithm=smart-ratio --smart_ratio_ends 0.1", "--smart_ratio_ends must be two fractions, those to"),
    (f"{SEARCH} --algorithm=smart-ratio --fine_tune_lr=0.1", "--fine_tune_lr has no effect with --algorithm=smart-rat"),
    (f"{SEARCH} --fine_tune_lr_drops=3", "--fine_tune_lr_drops has no effect with --fine_tune_lr_schedule=constant"),
    (f"{SEARCH} --epochs=9 --fine_tune_lr_schedule=step --fine_tune_lr_drops 3 198",
     "--fine_tune_lr_drops=198 must be less than the 198 iterations of fine-tuning"),
    (f"{SEARCH} --fine_tune_length=0 --fine_tune_lr=0.1", "--fine_tune_lr has no effect without fine-tuning (--fine_"),
    (f"{SEARCH} --fine_tune_weight_decay=0 --weight_decay_scope=all", "has no effect without a --fine_tune_weight_dec"),
    (f"{SEARCH} --unflag --rounding=probabilistic", "--rounding has no effect with --unflag, which keeps entries"),
    (f"{SEARCH} --weight_init=unchanged --scale_fan", "--scale_fan has no effect with --weight_init=unchanged; leave"),
    (f"{SEARCH} --threshold=1", "--threshold must be at least 0 and less than 1, not 1.0"),
    ("--data=digits --freeze_every=3", "--freeze_every has no effect with --experiment=singleshot; it belongs to supe"),
    # Networks of one's own
    (f"{QUICK} --architecture=nowhere.py:make", "nowhere.py:make: there is no file nowhere.py"),
    (f"{QUICK} --architecture=no_such_module:make", "there is no module 'no_such_module' here; give FILE.py:FACTORY"),
    (f"{QUICK} --architecture={OWN}:residul", "there is no function or class 'residul'; did you mean 'residual'?"),
    (f"{QUICK} --architecture={OWN}:Block", "Block needs channels, filters, stride; a factory gets, by name"),
    (f"{QUICK} --architecture=broken.py:make", "broken.py:make cannot be imported: SyntaxError"),
    (f"{QUICK} --architecture=exits.py:make", "exits.py:make cannot be imported: SystemExit"),
    (f"{QUICK} --architecture=fails.py:make", "fails.py:make failed: ZeroDivisionError: division by zero"),
    (f"{QUICK} --architecture=fails.py:leave", "fails.py:leave failed: SystemExit: 3"),
    (f"{QUICK} --architecture=fails.py:number", "fails.py:number must give an nn.Module, not int"),
    (f"{QUICK} --architecture=fails.py:few", "gives (2, 3) for 2 images, not (2, 10): at least one number per class"),
    (f"{QUICK} --architecture=fails.py:fixed --image_size=20", "does not run on an input of 1x20x20"),
    # Places
    ("--data=mnist --path_to_data=nowhere", "--path_to_data=nowhere is no folder; give the one that holds mnist"),
    ("--data=mnist", "mnist is not in Data/ and cannot be downloaded (no network); copy it there"),
    ("--data=imagefolder", "--data=imagefolder needs --path_to_data=FOLDER"),
    ("--data=imagefolder --path_to_data=empty", "empty holds no images in folders of classes; expected FOLDER/train"),
    ("--data=imagefolder --path_to_data=images", "2 of 6 images in images cannot be read: a/0.png (no image that"),
    (f"{QUICK} --weights_from=nowhere.pt", "--weights_from=nowhere.pt is not a file, a run's folder, or the name"),
    (f"{QUICK} --weights_from=broken.py", "broken.py holds more than tensors"),
    (f"{QUICK} --weights_from=other.pt", "does not fit the network: it lacks fc1.bias"),
    ("--data=digits --out_path=broken.py/x", "cannot write to broken.py/x"),
    # What cannot be reached
    (f"{QUICK} --architecture=imagenet/resnet18 --image_size=32 --pruning_type=effective --target_sparsity=0.1 "
     "--pruner=random", "weights cannot be kept: the network has only"),
]  # fmt: skip

VISUALIZATION = [
    ("--plot_type=accuracy", "unknown value of --plot_type 'accuracy'; did you mean 'accuracies'?"),
    ("--out_path=nowhere", "--out_path=nowhere is no folder; run main.py first"),
    ("--out_path=empty", "empty holds no complete runs; start some with: python main.py"),
    ("--num_samples=0", "--num_samples must be greater than 0, not 0"),
    ("--pruner=snip", "unknown flag --pruner; did you mean --pruners_to_display?"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with what users have lying around, and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sources, "_answers", lambda host: False)
    dataset.facts.cache_clear()
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.py").write_text("def make(:\n")
    (tmp_path / "exits.py").write_text("import sys\nsys.exit('usage: exits.py')\n")
    (tmp_path / "fails.py").write_text(
        "from torch import nn\n\n\ndef make():\n    return 1 / 0\n\n\ndef number():\n    return 3\n\n\n"
        "def leave():\n    raise SystemExit(3)\n\n\n"
        "def few():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 3))\n\n\n"
        "def fixed():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
    )
    for name in ("a", "b"):
        for index in range(3):
            place = tmp_path / "images" / name / f"{index}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (index, index, index)).save(place)
        (tmp_path / "images" / name / "0.png").write_text("no image")
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pt")
    Masks({"weight": torch.ones(2, dtype=torch.bool)}).save(tmp_path / "small.safetensors")


def answered(program, line: str, message: str, capsys) -> None:
    assert program.main(line.split()) == 2
    printed = capsys.readouterr()
    errors = [text for text in printed.err.splitlines() if not text.startswith("warning: ")]
    assert len(errors) == 1 and message in errors[0], printed.err
    assert not printed.out and not list(Path().rglob("run.json")) and not list(Path().rglob("*.png.tmp"))


@pytest.mark.parametrize(("line", "message"), MAIN, ids=[line[:60] for line, _ in MAIN])
def test_main(line, message, capsys):
    answered(main, line, message, capsys)


@pytest.mark.parametrize(("line", "message"), VISUALIZATION, ids=[line for line, _ in VISUALIZATION])
def test_visualization(line, message, capsys):
    answered(visualization, line, message, capsys)


def test_demo(capsys):
    answered(demo, "--fast", "demo.py: it takes no flags, not --fast", capsys)
