"""Algorithm 1: training a hash network, encoding images with it (§3.5 and §4.2; Chapters 11 and 12).

`loop` is the algorithm. Beside it stand what it trains on (`feeds`), optimizers and rates (`optimizers`),
what depends on the machine (`devices`), what is written down (`history`), what watches (`callbacks`), how a
killed run goes on (`resume`), how much time and memory there is (`session`, `memory`), and how trained
networks encode (`encoding`).
"""

from dhida_lib.config import TrainConfig
from dhida_lib.training.callbacks import Callback, CsvLog, Monitor, PrintLog, Progress, TensorBoardLog
from dhida_lib.training.devices import Choice, choose_precision, pick_device, seed_everything
from dhida_lib.training.encoding import encode, outputs
from dhida_lib.training.history import History, bit_balance
from dhida_lib.training.loop import train
from dhida_lib.training.optimizers import OPTIMIZERS, build_optimizer, learning_rate
from dhida_lib.training.waits import Waits

__all__ = [
    "OPTIMIZERS",
    "Callback",
    "Choice",
    "CsvLog",
    "History",
    "Monitor",
    "PrintLog",
    "Progress",
    "TensorBoardLog",
    "TrainConfig",
    "Waits",
    "bit_balance",
    "build_optimizer",
    "choose_precision",
    "encode",
    "learning_rate",
    "outputs",
    "pick_device",
    "seed_everything",
    "train",
]
