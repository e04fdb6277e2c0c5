"""Deep hashing for image retrieval: the finished and tested pieces of the DHIDA book.

The modules follow the paper, one idea each: `quantization` (Eq. 1, 2, 15), `attention` (Eq. 3–8),
`backbones` and `models` (Table 1, Eq. 14), `losses` (Eq. 9–13), `data` (§4.1), `metrics` (§4.2),
`training` (Algorithm 1) and `callbacks` (what watches it), `runs` and `records` (what was measured, and
how), `experiments` (Tables 3 and 4), `search`, `store` and `photos` (codes in use; they need FAISS or
LanceDB). The names below are the ones that most readers need.
"""

from dhida_lib import checks, losses, metrics, plots, widgets
from dhida_lib.attention import ChannelAttention, DualAttention, PositionAttention
from dhida_lib.callbacks import CsvLog, Monitor, PrintLog, TensorBoardLog
from dhida_lib.checkpoints import load_model, save_model
from dhida_lib.data import batches, data_path, load_dataset
from dhida_lib.losses import ClassifierLoss, DHIDALoss
from dhida_lib.models import HashNetwork
from dhida_lib.quantization import one_hot_codes, piecewise, quantization_error, sign, straight_through_sign
from dhida_lib.records import Record, load_record, load_records, save_record
from dhida_lib.runs import PROFILES, RunConfig, build, measure, run, start
from dhida_lib.similarity import similarity
from dhida_lib.training import History, TrainConfig, encode, outputs, seed_everything, train

__version__ = "0.1.0"

__all__ = [
    "PROFILES",
    "ChannelAttention",
    "ClassifierLoss",
    "CsvLog",
    "DHIDALoss",
    "DualAttention",
    "HashNetwork",
    "History",
    "Monitor",
    "PositionAttention",
    "PrintLog",
    "Record",
    "RunConfig",
    "TensorBoardLog",
    "TrainConfig",
    "batches",
    "build",
    "checks",
    "data_path",
    "encode",
    "load_dataset",
    "load_model",
    "load_record",
    "load_records",
    "losses",
    "measure",
    "metrics",
    "one_hot_codes",
    "outputs",
    "piecewise",
    "plots",
    "quantization_error",
    "run",
    "save_model",
    "save_record",
    "seed_everything",
    "sign",
    "similarity",
    "start",
    "straight_through_sign",
    "train",
    "widgets",
]
