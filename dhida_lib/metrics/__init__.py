"""How good is a ranking by Hamming distance? The measures of §4.2, built in Chapter 3.

`measures` holds the measures, expected values over all orders of ties; `histograms` what they are computed
from; `compiled` the loop that counts many pairs.
"""

from dhida_lib.metrics.histograms import hamming_distance, ranking_histograms
from dhida_lib.metrics.measures import (
    PrecisionRecall,
    average_precision,
    evaluate,
    map_bounds,
    mean_average_precision,
    precision_at_n,
    precision_recall_curve,
    precision_within_radius,
)

__all__ = [
    "PrecisionRecall",
    "average_precision",
    "evaluate",
    "hamming_distance",
    "map_bounds",
    "mean_average_precision",
    "precision_at_n",
    "precision_recall_curve",
    "precision_within_radius",
    "ranking_histograms",
]
