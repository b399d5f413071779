"""Augmentation of batches, against torchvision."""

import pytest
import torch
import torchvision.transforms.v2.functional as transforms
from torchvision.transforms import InterpolationMode

from Utils import randomness
from Utils.data import augmentation, dataset
from Utils.data.augmentation import AUGMENTATIONS
from Utils.data.image_spec import ImageSpec


def test_augmentation_leaves_the_data_order_alone():
    loaded = dataset.load("digits", "none", ImageSpec((1, 28, 28)))
    streams = [loaded.training_batches(0, 50, name) for name in AUGMENTATIONS]
    for _ in range(3):
        labels = [next(stream)[1] for stream in streams]
        assert all(torch.equal(label, labels[0]) for label in labels)


def test_images_are_padded_with_black_before_they_are_normalised():
    loaded = dataset.load("digits", "none", ImageSpec((1, 28, 28)), mean=(0.4,), std=(0.2,))
    images, labels = next(loaded.training_batches(3, 200, "crop-flip"))
    order = torch.randperm(len(loaded.train), generator=randomness.generator(3, "data order"))[:200]
    raw, expected_labels = next(iter(loaded.train.batches([order])))
    draws = randomness.generator(3, "augmentation")
    crops = AUGMENTATIONS["crop-flip"](raw.float(), torch.zeros(1, 1, 1, 1), draws)
    assert torch.equal(labels, expected_labels)
    torch.testing.assert_close(images, (crops / 255 - 0.4) / 0.2)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 32)])
@pytest.mark.parametrize("angle", [-4.0, 0.0, 2.5, 30.0, 90.0])
def test_rotation_equals_torchvision(shape, angle):
    images = torch.zeros(4, *shape)  # rotations differ in what they find beyond the border: leave it empty
    images[:, :, 7:13, 8:-8] = torch.rand(4, shape[0], 6, shape[2] - 16)
    expected = transforms.rotate(images, angle, interpolation=InterpolationMode.BILINEAR)
    torch.testing.assert_close(augmentation.rotate(images, torch.full((4,), angle)), expected, atol=1e-5, rtol=0)


def test_shift_crop_and_mirror_equal_torchvision():
    images = torch.rand(30, 3, 9, 11)
    down, right = torch.randint(-3, 4, (30,)), torch.randint(-3, 4, (30,))
    shifted = augmentation.shift(images, down, right)
    top, left = torch.randint(0, 9, (30,)), torch.randint(0, 9, (30,))
    black = torch.tensor([-0.5, 0.0, 2.0]).reshape(1, 3, 1, 1)
    cropped = augmentation.crop(images, black, top, left)
    is_mirrored = torch.rand(30) < 0.5
    mirrored = augmentation.mirror(images, is_mirrored)
    for i, image in enumerate(images):
        wide = transforms.pad(image, [3], padding_mode="edge")
        assert torch.equal(shifted[i], wide[:, 3 - down[i] : 12 - down[i], 3 - right[i] : 14 - right[i]])
        padded = torch.stack(
            [transforms.pad(part[None], [4], fill=float(v))[0] for part, v in zip(image, black.flatten(), strict=True)]
        )
        assert torch.equal(cropped[i], transforms.crop(padded, int(top[i]), int(left[i]), 9, 11))
        assert torch.equal(mirrored[i], transforms.horizontal_flip(image) if is_mirrored[i] else image)


def test_augmentations_cover_their_range():
    generator = torch.Generator().manual_seed(0)
    ramp = torch.arange(16.0).repeat(16, 1).repeat(4000, 1, 1, 1)
    black = torch.zeros(1, 1, 1, 1)
    moved = AUGMENTATIONS["shift-flip"](ramp, black, generator)
    assert set((moved[:, 0, 8, 8]).tolist()) == {8 + d for d in range(-3, 4)} | {7 - d for d in range(-3, 4)}
    sizes = torch.where(moved[:, 0, 8, 8] > moved[:, 0, 8, 7], moved[:, 0, 8, 8] - 8, 7 - moved[:, 0, 8, 8]).abs()
    shares = [(sizes == size).float().mean().item() for size in range(4)]
    assert shares == pytest.approx([0.25] * 4, abs=0.03), "as Keras: a size from 0 to 3, then a sign"
    crops = AUGMENTATIONS["crop-flip"](torch.ones(4000, 1, 8, 8), black, generator)
    assert set(crops.sum((1, 2, 3)).tolist()) == {a * b * 1.0 for a in range(4, 9) for b in range(4, 9)}
    corner = torch.zeros(4000, 1, 41, 41)
    corner[:, :, 20, 40] = 1
    weights = AUGMENTATIONS["rotation"](corner, black, generator)[:, 0, :, 38:].sum(2)
    rows = (weights * torch.arange(41.0)).sum(1) / weights.sum(1)
    degrees = torch.rad2deg(torch.atan((20 - rows) / 20))
    assert degrees.abs().max() <= 4.3 and degrees.min() < -3.5 and degrees.max() > 3.5
    assert abs(degrees.mean()) < 0.2
