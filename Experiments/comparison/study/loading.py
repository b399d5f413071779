"""Networks of a comparison: the trained weights and masks of finished runs and of files, built and loaded."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from torch import nn
from tqdm import tqdm

from Experiments.common.network import build_network, load_data, load_file, restore
from Experiments.comparison.experiment import compared_runs
from Experiments.comparison.files import NamedFile, files_key, named_files
from Experiments.comparison.networks import Network
from Experiments.comparison.study.naming import groups_of, names_of
from Layers import Masks
from Utils.config.resolved import DataSpec
from Utils.config.settings import Settings
from Utils.data.dataset import Data
from Utils.errors import UserError
from Utils.machine import pick_device
from Utils.results.artifacts import read_artifact
from Utils.results.run_selection import StoredRun, check_unchanged
from Utils.training.context import RunContext


def load_networks(settings: Settings, runs: Sequence[StoredRun], context: RunContext) -> list[Network]:
    """The networks of the selected runs and of `--files`, in this order and in evaluation mode.

    Raises `UserError` if files have other contents than at the start, if a run keeps no weights or no masks, and
    `DamagedError` for a damaged run.
    """
    options = settings.options
    files = named_files(options.files)
    if files and files_key(files) != options.files_key:
        raise UserError("--files: their contents changed since the start of this command; start it again")
    groups = [*groups_of(runs), *(file.group for file in files)]
    samples = [*(int(run.row["sample"]) for run in runs), *(file.sample for file in files)]
    names = names_of(groups, samples, [*(run.key for run in runs), *(str(file.path) for file in files)])
    networks = []
    for place in _bar(range(len(names)), context):
        run, file = (runs[place], None) if place < len(runs) else (None, files[place - len(runs)])
        model, shape = _of_run(run, settings) if run else _of_file(file, runs, settings)  # type: ignore[arg-type]
        folder, key = (str(run.folder), run.key) if run else ("", "")
        networks.append(Network(names[place], groups[place], samples[place], model.eval(), shape, folder, key))
    return networks


def selected(settings: Settings) -> list[StoredRun]:
    """The compared runs; raises `UserError` if other ones are finished than at the start."""
    if not settings.options.runs:
        return []
    runs = compared_runs(settings)
    check_unchanged(runs, settings.options.runs_key)
    return runs


def compared_data(settings: Settings, runs: Sequence[StoredRun]) -> Data:
    """The images that all networks see: those of the first run, or of `--data`, as it prepares them."""
    return _data(_data_spec(settings, runs), settings.machine.device)


def _data_spec(settings: Settings, runs: Sequence[StoredRun]) -> DataSpec:
    if not runs:
        return settings.data_spec
    spec, run = runs[0].settings.data_spec, settings.run
    if spec.name != run.data:  # its constants are those of other images
        spec = replace(spec, name=str(run.data), mean=None, std=None, validation=0, sample=0)
    return replace(spec, path=run.path_to_data)


def _of_run(run: StoredRun, settings: Settings) -> tuple[nn.Module, tuple[int, ...]]:
    """The trained network of a run, and the shape of its inputs."""
    for kind in ("weights", "masks"):
        if not (run.folder / f"{kind}.safetensors").is_file():
            raise UserError(
                f"{run.folder} has no {kind} any more; the same main.py command with --overwrite makes them again"
            )
    weights, masks = read_artifact(run.folder, "weights").weights, read_artifact(run.folder, "masks").masks
    assert masks is not None
    spec = replace(run.settings.data_spec, path=settings.run.path_to_data, validation=0, sample=0)
    data = _data(spec, settings.machine.device)
    model = build_network(run.settings.network_spec, data.input_shape, data.classes)
    try:
        restore(model, weights)
        masks.install(model)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"{run.folder} does not fit its architecture, which has changed since: {error}") from error
    return model.to(pick_device(settings.machine.device)), data.input_shape


def _of_file(file: NamedFile, runs: Sequence[StoredRun], settings: Settings) -> tuple[nn.Module, tuple[int, ...]]:
    """The network of a file of weights, whose zeros are pruned, and the shape of its inputs."""
    data = compared_data(settings, runs)
    spec = runs[0].settings.network_spec if runs else settings.network_spec
    model = build_network(spec, data.input_shape, data.classes)
    load_file(model, file.path, f"--files: {file.path}, as weights of --architecture={spec.architecture},")
    Masks.from_zeros(model).install(model)
    return model.to(pick_device(settings.machine.device)), data.input_shape


@lru_cache(maxsize=2)
def _data(spec: DataSpec, device: str) -> Data:
    return load_data(spec, pick_device(device))


def _bar(places: range, context: RunContext) -> tqdm:
    return tqdm(
        places, desc="loading networks", unit="network", leave=False, disable=None if context.has_bar else True,
        position=context.bars_above, dynamic_ncols=True,
    )  # fmt: skip
