"""The experiments behind the book's tables: which runs they need, running them, reading their records.

``python -m dhida_lib reproduce tune | table3 | table4`` makes the records; Chapters 14 and 15 read them.
"""

from dhida_lib.experiments.compare import Difference, paired, scores
from dhida_lib.experiments.gpu import gpu_records, run_gpu
from dhida_lib.experiments.plan import TABLES, Job, find, plan, tuned
from dhida_lib.experiments.schedule import missing, repeat, reproduce
from dhida_lib.experiments.tables import BEYOND, METHODS, MODELS, RATES, Variant, base

__all__ = [
    "BEYOND",
    "METHODS",
    "MODELS",
    "RATES",
    "TABLES",
    "Difference",
    "Job",
    "Variant",
    "base",
    "find",
    "gpu_records",
    "missing",
    "paired",
    "plan",
    "repeat",
    "reproduce",
    "run_gpu",
    "scores",
    "tuned",
]
