"""What watches a run: a line, a bar, a file or a measurement for each epoch (used in Chapters 11 and 12).

The trainer calls every `Callback`; these are the ready-made ones.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn
from tqdm import tqdm

from dhida_lib._files import write_atomic
from dhida_lib._validate import positive_int
from dhida_lib.data import Split
from dhida_lib.metrics import mean_average_precision
from dhida_lib.training.encoding import encode

__all__ = ["Callback", "CsvLog", "Monitor", "PrintLog", "Progress", "TensorBoardLog"]


class Callback:
    """Something that watches a run. All methods do nothing here; override what you need."""

    def on_note(self, text: str) -> None:
        """Called with what a run has to say of itself, such as how long it will take.

        Args:
            text: one line.
        """

    def on_batch(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        """Called for every batch; on a GPU some batches later, for several at once, so that it need not wait.

        Args:
            epoch: the current epoch, from 1.
            batch: the batch within it, from 1.
            batches: batches per epoch.
            loss: the batch's loss.
        """

    def on_epoch(self, row: dict[str, float], model: nn.Module) -> None:
        """Called after every epoch, before the checkpoint is written.

        Args:
            row: the epoch's row of the history; what is added to it is kept.
            model: the network, in training mode.
        """


def _print(text: str) -> None:
    """Print a line at once, above a bar if there is one."""
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


class PrintLog(Callback):
    """Print one line per epoch.

    Args:
        every: print each ``every``-th epoch, and always the first.
    """

    def __init__(self, every: int = 1) -> None:
        self.every = positive_int("every", every)

    def on_note(self, text: str) -> None:
        """Print the line."""
        _print(text)

    def on_epoch(self, row: dict[str, float], model: nn.Module) -> None:
        """Print the row."""
        if row["epoch"] % self.every == 0 or row["epoch"] == 1:
            shown = {k: v for k, v in row.items() if k not in ("epoch", "lr", "seconds")}
            values = "  ".join(f"{k.replace('_', ' ')} {v:.3f}" for k, v in shown.items())
            _print(f"epoch {row['epoch']:3.0f}  {values}")


def _watched() -> bool:
    """Does somebody see a bar move? In a terminal and in a notebook; not in a log file, nor on the site."""
    if sys.stdout.isatty():
        return True
    notebook = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(notebook, "kernel") and not os.environ.get("DHIDA_STATIC")


class Progress(Callback):
    """A progress bar over all steps, on standard output: in a terminal, or in a notebook that is open.

    Args:
        epochs: how many epochs the run has.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = positive_int("epochs", epochs)
        self.bar: tqdm | None = None

    def on_note(self, text: str) -> None:
        """Write the line above the bar."""
        _print(text)

    def on_batch(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        """Move the bar."""
        if self.bar is None:
            self.bar = tqdm(
                total=self.epochs * batches,
                initial=(epoch - 1) * batches,
                file=sys.stdout,
                leave=False,
                unit="step",
                disable=not _watched(),
            )
        self.bar.set_description(f"epoch {epoch}/{self.epochs}, loss {loss:.3f}", refresh=False)
        self.bar.update()
        if (epoch, batch) == (self.epochs, batches):
            self.bar.close()


class CsvLog(Callback):
    """Write the history into a CSV file, a row for each epoch.

    The file is written whole after each epoch. A run that goes on keeps the rows of the epochs before.

    Args:
        file: the file; its folder is made.
    """

    def __init__(self, file: str | os.PathLike[str]) -> None:
        self.file = Path(file)

    def on_epoch(self, row: dict[str, float], model: nn.Module) -> None:
        """Write the rows."""
        rows: list[dict[str, Any]] = []
        if self.file.is_file():
            with self.file.open(newline="", encoding="utf-8") as old:
                rows = [r for r in csv.DictReader(old) if int(float(r["epoch"])) < row["epoch"]]
        rows.append(row)
        names = list(dict.fromkeys(name for r in rows for name in r))

        def write(path: Path) -> None:
            with path.open("w", newline="", encoding="utf-8") as new:
                table = csv.DictWriter(new, names)
                table.writeheader()
                table.writerows(rows)

        write_atomic(self.file, write)


class TensorBoardLog(Callback):
    """Write the history for TensorBoard, one curve for each quantity.

    Args:
        folder: where its files go.

    Raises:
        ImportError: if TensorBoard is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError("A log for TensorBoard needs it: pip install tensorboard") from error
        self.folder = Path(folder)
        self._open: Callable[..., Any] = SummaryWriter
        self._writer: Any = None

    def on_epoch(self, row: dict[str, float], model: nn.Module) -> None:
        """Write the row."""
        epoch = int(row["epoch"])
        if self._writer is None:  # a run that goes on replaces what came after its last whole epoch
            self._writer = self._open(str(self.folder), purge_step=epoch)
        for name, value in row.items():
            if name != "epoch":
                self._writer.add_scalar(name, value, epoch)
        self._writer.flush()


class Monitor(Callback):
    """Measure the expected mAP as the run goes on. It only watches: nothing is chosen by it.

    Args:
        query: the queries, best cut from images that the final number does not use.
        database: the images to search.
        every: measure each ``every``-th epoch.

    Source: §4.2; used in Chapter 11.
    """

    def __init__(self, query: Split, database: Split, every: int = 1) -> None:
        self.query, self.database, self.every = query, database, positive_int("every", every)

    def on_epoch(self, row: dict[str, float], model: nn.Module) -> None:
        """Add ``map`` to the row. Source: §4.2; used in Chapter 11."""
        if row["epoch"] % self.every == 0:
            q, d = encode(model, self.query), encode(model, self.database)
            row["map"] = mean_average_precision(q, d, self.query.labels, self.database.labels)
