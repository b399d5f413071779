"""Tables of pictures: feature maps of one image, and the patches of images that excite units most."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch.nn.functional as F
from torch import Tensor

from Experiments.comparison.activations.matching import matched, one_to_one
from Experiments.comparison.activations.moments import Moments, observe
from Experiments.comparison.activations.receptive_field import receptive_fields
from Experiments.comparison.activations.recording import Recorder, When, record
from Experiments.comparison.activations.strongest import Strongest
from Experiments.comparison.networks import Network
from Experiments.comparison.pairs import spread_over

_MOST_LAYERS, _MOST_UNITS = 3, 10
"""Most layers that are shown, and most units of each."""

_SIDE = 32
"""Most rows and columns of a feature map or a patch; larger ones are averaged down to it."""

_DIGITS = 4


def representatives(networks: Sequence[Network], most: int = 9) -> list[Network]:
    """The first network of each group, of nine groups at most."""
    first = {network.group: network for network in reversed(networks)}
    return [network for network in networks if first[network.group] is network][:most]


def picture_tables(
    networks: Sequence[Network], inputs: Tensor, pixels: Tensor, when: When = "after", batch_size: int | None = None
) -> dict[str, pd.DataFrame]:
    """What units of networks see in images: `pixels` (images, channels, rows, columns), and normalised as `inputs`.

    At most 10 units of at most 3 layers are shown: live ones of the first network, from the best to the worst match
    in the second, and in each other network their partners, as the one-to-one matching of activations finds them. So
    `place` numbers the same unit in each `network` and `layer`; `correlation` is that with the first network's `unit`.

    `feature_maps`: `activation` at `row` and `column` of the shown units of convolutions for the first image. Layer
    `input` is the image itself, with channels as units, from 0 to 1.

    `patches`: the number of the `image` and the `row` and `column` of the position (0 of units without positions) at
    which the absolute activation of a unit is largest, that `activation`, and the receptive field there, `top`, `left`,
    `bottom`, `right` (exclusive) in pixels of the image. `patch_pixels`: the pixels (0 to 255) of that field, a column
    `channel_0`, … for each channel; black ones are left out. Dead units have no patch.

    Maps and patches of more than 32 rows or columns are averaged down. A table without rows is left out. Raises
    `UserError` for networks of other shapes.
    """
    moments = observe(networks, inputs, when, batch_size)
    units = pd.concat(
        [_shown_units(networks, name, moments[name]) for name in spread_over(list(moments), _MOST_LAYERS)]
    )
    maps, patches = [], []
    for network, strongest in zip(networks, _strongest(networks, inputs, when, batch_size), strict=True):
        recorder, own = Recorder(network, when), units[units["network"] == network.name]
        maps += _feature_maps(own, recorder(inputs[:1]), pixels[0], network.name)
        fields = receptive_fields(recorder)
        live = own[~own["is_dead"]].drop(columns="is_dead")
        patches += [_patch(row, strongest[row["layer"]], fields[row["layer"]]) for row in live.to_dict("records")]
    tables = {
        "feature_maps": pd.concat(maps, ignore_index=True) if maps else pd.DataFrame(),
        "patches": pd.DataFrame(patches),
        "patch_pixels": pd.concat([_patch_pixels(row, pixels) for row in patches] or [pd.DataFrame()]),
    }
    return {name: table.reset_index(drop=True) for name, table in tables.items() if len(table)}


def _shown_units(networks: Sequence[Network], layer: str, moments: Moments) -> pd.DataFrame:
    """Units of the first network and their partners in the others: a row per network and place."""
    partners = [one_to_one(moments.between(0, other)) for other in range(len(networks))]
    partners[0] = np.arange(len(partners[0]))
    values = [matched(moments.between(0, other), partners[other]) for other in range(len(networks))]
    live = np.flatnonzero(moments.live(0))
    order = live[np.argsort(-values[min(1, len(values) - 1)][live], kind="stable")]
    chosen = order[spread_over(range(len(order)), _MOST_UNITS)]
    return pd.concat([
        pd.DataFrame({
            **network.columns, "layer": layer,
            "place": np.arange(len(chosen)), "unit": own[chosen], "correlation": correlation[chosen].round(_DIGITS),
            "is_dead": ~moments.live(place)[own[chosen]],
        })
        for place, (network, own, correlation) in enumerate(zip(networks, partners, values, strict=True))
    ])  # fmt: skip


def _strongest(
    networks: Sequence[Network], inputs: Tensor, when: When, batch_size: int | None
) -> list[dict[str, Strongest]]:
    """The strongest activations of each network's layers."""
    found: list[dict[str, Strongest]] = [{} for _ in networks]
    for batch in record(networks, inputs, when, batch_size):
        for layers, activations in zip(found, batch, strict=True):
            for name, values in activations.items():
                new = Strongest.of(values)
                layers[name] = layers[name].merged(new) if name in layers else new
    return found


def _feature_maps(
    units: pd.DataFrame, activations: Mapping[str, Tensor], image: Tensor, network: str
) -> list[pd.DataFrame]:
    """The image and the maps of the shown units of all layers that have maps."""
    maps = [
        _entries(activations[str(layer)][0][part["unit"].tolist()], part["place"], part["unit"])
        .assign(network=network, layer=layer)
        for layer, part in units.groupby("layer", sort=False)
        if activations[str(layer)].dim() == 4
    ]  # fmt: skip
    if not maps:
        return []
    channels = range(len(image))
    return [_entries(image.double() / 255, channels, channels).assign(network=network, layer="input"), *maps]


def _entries(maps: Tensor, places: Any, units: Any) -> pd.DataFrame:
    """The entries of maps (units, rows, columns), a row each."""
    values = _reduced(maps)
    place, row, column = np.indices(values.shape).reshape(3, -1)
    names = {"place": np.array(places)[place], "unit": np.array(units)[place]}
    return pd.DataFrame(names | {"row": row, "column": column, "activation": values.ravel().round(_DIGITS)})


def _reduced(maps: Tensor) -> np.ndarray:
    """Maps (…, rows, columns) of at most `_SIDE` rows and columns."""
    height, width = (min(size, _SIDE) for size in maps.shape[-2:])
    return F.adaptive_avg_pool2d(maps.detach().double().cpu(), (height, width)).numpy()


def _patch(row: Mapping[Any, Any], strongest: Strongest, fields: np.ndarray) -> dict[str, Any]:
    """Where a unit is most active, and what it sees there."""
    unit = row["unit"]
    places = fields.shape[:-1]
    position = np.unravel_index(strongest.position[unit], places) if places else ()
    box = dict(zip(("top", "left", "bottom", "right"), map(int, fields[position]), strict=True))
    row_and_column = dict(zip(("row", "column"), map(int, (*position, 0, 0)), strict=False))
    activation = round(float(strongest.activation[unit]), _DIGITS)
    return dict(row) | {"image": int(strongest.image[unit])} | row_and_column | {"activation": activation} | box


def _patch_pixels(patch: dict[str, Any], pixels: Tensor) -> pd.DataFrame:
    """The pixels of a patch, a row each."""
    area = pixels[patch["image"], :, patch["top"] : patch["bottom"], patch["left"] : patch["right"]]
    if not area.numel():
        return pd.DataFrame()
    values = _reduced(area).round().astype(int)
    row, column = np.indices(values.shape[1:]).reshape(2, -1)
    names = {name: patch[name] for name in ("network", "layer", "place")}
    channels = {f"channel_{number}": channel.ravel() for number, channel in enumerate(values)}
    table = pd.DataFrame(names | {"row": row, "column": column} | channels)
    return table[table[list(channels)].any(axis=1)]
