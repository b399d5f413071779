"""Loading time of a folder of images: first load, cached load, and one pass over torchvision's ImageFolder.

    python -m benchmarks.image_folder FOLDER

Each load is executed in a separate process, with two workers if it uses workers. `FOLDER/.cache` is deleted before each
first load. torchvision is timed for one pass of a DataLoader over both sets, which it decodes again in every epoch.
"""

import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.timing import keep

OURS = """
import sys, time
import torch
from Utils.data.dataset import facts, load
from Utils.data.image_spec import ImageSpec
if __name__ == "__main__":
    started = time.perf_counter()
    facts("imagefolder", sys.argv[1])
    data = load("imagefolder", sys.argv[1], ImageSpec((3, 32, 32)))
    print(time.perf_counter() - started, len(data.train) + len(data.test), int(data.train.images[::1000].sum()))
"""
THEIRS = """
import sys, time
import torch, torchvision
if __name__ == "__main__":
    started = time.perf_counter()
    count = 0
    for part in ("train", "test"):
        data = torchvision.datasets.ImageFolder(f"{sys.argv[1]}/{part}", torchvision.transforms.ToTensor())
        for images, labels in torch.utils.data.DataLoader(data, batch_size=256, num_workers=2):
            count += len(labels)
    print(time.perf_counter() - started, count)
"""
REPEATS = 3


def seconds(code: str, folder: str) -> float:
    """Seconds reported by a new process; start-up and imports are not included."""
    process = subprocess.run([sys.executable, "-c", code, folder], check=True, capture_output=True, text=True)
    return float(process.stdout.split()[0])


def main(folder: str) -> None:
    """Time the three kinds of load, in turn in each round."""
    first, cached, torchvision = [], [], []
    for _ in range(REPEATS):
        shutil.rmtree(Path(folder) / ".cache", ignore_errors=True)
        first.append(seconds(OURS, folder))
        cached.append(seconds(OURS, folder))
        torchvision.append(seconds(THEIRS, folder))
    numbers = {"repeats": REPEATS, "first_seconds": statistics.median(first),
               "cached_seconds": statistics.median(cached),
               "torchvision_epoch_seconds": statistics.median(torchvision)}  # fmt: skip
    keep("image_folder", "python -m benchmarks.image_folder FOLDER", numbers)


if __name__ == "__main__":
    main(sys.argv[1])
