"""Batch parts: which images of a batch this process computes, and in how many passes."""

from torch import Tensor

from Utils.distributed.process_group import share
from Utils.errors import UserError


class BatchParts:
    """The parts of each batch that this process computes, one after another."""

    def __init__(self, batch_size: int, accumulate: int) -> None:
        """Raises `UserError` if a part has less than 2 images."""
        self.batch_size, self.share = batch_size, share()
        if batch_size < 2 * accumulate * self.share.of:
            raise UserError(
                f"--batch_size={batch_size} leaves less than 2 images for each of {self.share.of} processes in each of "
                f"--accumulate={accumulate} parts"
            )
        ranges = self.share.positions(batch_size, accumulate)
        self.sizes = [len(part) for part in ranges]
        is_whole = ranges == [range(batch_size)]
        self.positions = None if is_whole else [position for part in ranges for position in part]
        """Positions in the batch of the images of this process; None: all."""

    def split(self, images: Tensor, labels: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The parts of the images and labels of this process."""
        return list(zip(images.split(self.sizes), labels.split(self.sizes), strict=True))

    def weight(self, count: int) -> float:
        """Weight of the mean loss of `count` images, so that each image of a batch counts the same.

        Gradients are summed over parts and averaged over processes.
        """
        return count * self.share.of / self.batch_size
