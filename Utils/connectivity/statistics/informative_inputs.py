"""Informative inputs: the entries of an image that masks keep, and what a linear classifier learns from them alone."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from Utils.connectivity.effective import propagate_masks


def kept_inputs(model: nn.Module, input_shape: tuple[int, ...], masks: Mapping[str, Tensor] | None = None) -> Tensor:
    """Bool tensor of `input_shape`: whether a path of kept weights leads from an entry of the input to an output.

    `input_shape` is (channels, height, width). Masks are the model's own by default. Raises `UserError` for a model
    that torch.fx cannot trace.
    """
    return propagate_masks(model, input_shape, masks).inputs > 0


def linear_accuracy(
    train_images: Tensor, train_labels: Tensor, test_images: Tensor, test_labels: Tensor, kept: Tensor
) -> float:
    """Accuracy on test images, from 0 to 1, of a ridge classifier that sees only the kept entries of each image.

    `kept` (bool) has the shape of an image. The classifier is a least-squares fit of -1 and 1 per class with penalty 1,
    in float64, in closed form. Without a kept entry, the accuracy is that of chance: the share of the most frequent
    class among the test images.
    """
    if not bool(kept.any()) or len(train_labels.unique()) < 2:
        return float(test_labels.bincount().max()) / len(test_labels)
    from sklearn.linear_model import RidgeClassifier

    entries = kept.reshape(-1).cpu()

    def features(images: Tensor):
        return images.reshape(len(images), -1).cpu()[:, entries].to(torch.float64).numpy()

    classifier = RidgeClassifier().fit(features(train_images), train_labels.cpu().numpy())
    return float(classifier.score(features(test_images), test_labels.cpu().numpy()))
