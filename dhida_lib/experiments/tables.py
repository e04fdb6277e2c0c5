"""What the book's tables compare: methods, models, and the run that each data set's tables start from.

A row of a table of methods is a loss; everything about it stands in its class. One that is not listed here, a
reader's own too, is a row all the same when it is asked for by its label or name.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from dhida_lib.config import PROFILES, RunConfig
from dhida_lib.data import DATASETS
from dhida_lib.losses import LOSSES

__all__ = ["BEYOND", "METHODS", "MODELS", "RATES", "VALIDATION", "Variant", "base"]


def _labels(*names: str) -> dict[str, str]:
    return {name: LOSSES[name].label for name in names}


METHODS: dict[str, str] = _labels(
    "dhida", "dbdh", "dsdh", "dhn", "lcdsh", "hashnet", "idhn", "dfh", "dsh", "orthohash", "classifier"
)
"""The rows of Table 3, and two that the paper left out: a centre method and a classifier's one-hot code."""

BEYOND: dict[str, str] = _labels("dhida", "dbdh", "csq", "orthohash", "classifier")
"""The rows of Chapter 19's table: pairs with and without attention, two centre methods, a classifier."""

RATES = (1.0, 0.5, 2.0)
"""The learning rates that every method tries, as multiples of its data set's."""

VALIDATION = 0.25
"""The share of the training images that the search cuts off."""


class Variant(NamedTuple):
    """A row of Table 4: the system with something changed.

    Attributes:
        change: settings by flat name; ``options`` are added to the method's own.
        plain: on the AlexNet of the backbone's size.
    """

    change: dict[str, Any]
    plain: bool = False

    def of(self, config: RunConfig) -> RunConfig:
        """The changed run.

        Args:
            config: the system's run.

        Returns:
            The row's run.
        """
        from dhida_lib.backbones import BACKBONES

        change = {**self.change, "options": {**config.loss.options, **self.change.get("options", {})}}
        if self.plain:
            change["backbone"] = getattr(BACKBONES[config.network.backbone], "plain", "alexnet")
        return config.change(**change)


MODELS: dict[str, Variant] = {
    "DHIDA-A": Variant({"attention": "none", "options": {"activation": "identity"}}, plain=True),
    "DHIDA-I": Variant({"attention": "none"}, plain=True),
    "DHIDA-R": Variant({"attention": "none"}),
    "DHIDA-D": Variant({"attention": "danet"}),
    "DHIDA": Variant({}),
    "DHIDA, row": Variant({"reduce": "row"}),
    "sign flipped": Variant({"attention": "flipped"}),
    "A doubled": Variant({"attention": "double"}),
    "plain convolutions": Variant({"attention": "conv"}),
    "sum halved": Variant({"fusion": "mean"}),
}
"""The rows of Table 4, and what it left out: the other axis, the other sign, and three controls."""


def base(dataset: str, **change: Any) -> RunConfig:
    """What all runs of a data set's tables share; the data set itself says what that is.

    Args:
        dataset: a name in `DATASETS`.
        change: settings that are changed in every run.

    Returns:
        The run.

    Raises:
        ValueError: if the name or a setting is wrong.
    """
    own = dict(DATASETS.find(dataset, "dataset").base)
    profile = PROFILES[own.pop("profile", "full")]
    return profile.change(**{**own, "dataset": dataset, **change})
