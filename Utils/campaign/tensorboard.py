"""How is training followed in TensorBoard while it goes on?"""

from importlib import import_module
from pathlib import Path
from typing import Any

from Utils.config.settings import Settings
from Utils.errors import UserError
from Utils.results.folders import folder_name
from Utils.training.context import Evaluation

_KEPT_OPEN = 32


class TensorBoardWriter:
    """Writes every evaluation of every network below one folder, a subfolder for each."""

    def __init__(self, folder: str) -> None:
        """Raises `UserError` without the package, or where nothing can be written."""
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

    def add(self, settings: Settings, row: Evaluation) -> None:
        """Write the numbers of one evaluation; what is not known is left out."""
        title = folder_name(settings.title().replace(" ", "_"))
        name = f"{title}_{settings.key()}" + (f"/training-{row.training}" if row.training else "")
        writer = self.writers.pop(name, None) or self.make(str(self.folder / name))
        self.writers[name] = writer
        for column, value in row.values.items():
            if column != "iteration" and value == value:
                writer.add_scalar(column, value, int(row.values["iteration"]))
        writer.flush()
        while len(self.writers) > _KEPT_OPEN:
            self.writers.pop(next(iter(self.writers))).close()
