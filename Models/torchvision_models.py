"""Classifiers of torchvision with masked layers, and their pretrained weights."""

from typing import Any

from torch import nn

from Layers import mask_model, state_without_masks
from Models.normalisation import use_batch_statistics

_WITHOUT_AUXILIARY = ("googlenet", "inception_v3")
"""Networks built without their auxiliary classifiers, which are used in training only and are never deployed."""


def load_pretrained(model: nn.Module, name: str) -> list[str]:
    """Load torchvision's best ImageNet weights into a network; parameters of a different shape keep their values.

    Returns the names of these parameters: those of the classifier, unless there are 1000 classes. Raises
    `ConnectionError` if the weights are not in torch's cache and cannot be downloaded, `ValueError` if torchvision has
    none.
    """
    import torchvision

    weights: Any = torchvision.models.get_model_weights(name.partition("/")[2])
    if not list(weights):
        raise ValueError(f"torchvision has no weights of {name}")
    try:
        state = weights.DEFAULT.get_state_dict(check_hash=True)
    except (OSError, RuntimeError) as error:
        raise ConnectionError((str(error) or type(error).__name__).splitlines()[0]) from error
    current = model.state_dict()
    matching = {key: value for key, value in state.items() if key in current and current[key].shape == value.shape}
    model.load_state_dict({**current, **matching})
    return [key for key in state_without_masks(model) if key not in matching]


def imagenet(name: str, input_shape: tuple[int, int, int], classes: int, batchnorm: str) -> nn.Module:
    """The network `imagenet/NAME`; raises `ValueError` if the input is too small or a layer cannot have a mask."""
    import torchvision

    name = name.partition("/")[2]
    options = {"aux_logits": False, "init_weights": True} if name in _WITHOUT_AUXILIARY else {}
    model = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
    if batchnorm == "batch":
        use_batch_statistics(model)
    return mask_model(model, input_shape)
