"""TensorBoard: every evaluation of every run is written while the campaign is running."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from Utils.campaign.plan import PlannedRun
from Utils.campaign.progress import Describe, TextReporter
from Utils.config.settings import Settings
from Utils.errors import UserError
from Utils.results.folders import folder_name
from Utils.training.context import Evaluation
from Utils.training.task import MAIN

_KEPT_OPEN = 32


class TensorBoardWriter:
    """Writes evaluations below one folder, one subfolder per run."""

    def __init__(self, folder: str) -> None:
        """Raises `UserError` if the package is missing or the folder cannot be written."""
        self.folder = Path(folder)
        self.writers: dict[str, Any] = {}
        try:
            self.make: Any = import_module("torch.utils.tensorboard").SummaryWriter
        except ImportError as error:
            raise UserError("--tensorboard needs the package tensorboard: pip install tensorboard") from error
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--tensorboard={folder}: {error.strerror}") from error

    def add(self, settings: Settings, evaluation: Evaluation) -> None:
        """Write the numbers of one evaluation, NaN left out."""
        title = folder_name(settings.title().replace(" ", "_"))
        name = f"{title}_{settings.key()}" + ("" if evaluation.training == MAIN else f"/{evaluation.training}")
        writer = self.writers.pop(name, None) or self.make(str(self.folder / name))
        self.writers[name] = writer
        for column, value in evaluation.values.items():
            if column != "iteration" and value == value:
                writer.add_scalar(column, value, int(evaluation.values["iteration"]))
        writer.flush()
        while len(self.writers) > _KEPT_OPEN:
            self.writers.pop(next(iter(self.writers))).close()


class TensorBoardReporter(TextReporter):
    """Also writes every evaluation for TensorBoard, until it cannot."""

    def __init__(self, print_line: Callable[[str], object], describe: Describe, writer: TensorBoardWriter) -> None:
        super().__init__(print_line, describe)
        self.writer: TensorBoardWriter | None = writer

    def evaluation(self, run: PlannedRun, evaluation: Evaluation) -> None:
        """Write the numbers of an evaluation."""
        if self.writer is None:
            return
        try:
            self.writer.add(run.settings, evaluation)
        except OSError as error:
            self.writer = None
            self.warn(f"nothing more is written for TensorBoard: {error.strerror or error}")
