"""Any network as a backbone (Chapter 16)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from dhida_lib._validate import bad, positive_int
from dhida_lib.backbones.base import Backbone

__all__ = ["ModuleBackbone"]


class ModuleBackbone(Backbone):
    """Any network as a backbone: what it gives for a batch of images becomes the map.

    Args:
        module: a network from images B×in_channels×H×W to maps B×C×h×w, features B×C (a map of one position),
            or tokens B×N×C of a transformer (a square of positions, after those that stand for no position).
        in_channels: channels of the images.
        side: side in pixels of an image on which the network is tried, once, to see what it gives.

    Raises:
        ValueError: if it gives something else.
    """

    def __init__(self, module: nn.Module, in_channels: int = 3, side: int = 224) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise bad("backbone", type(module).__name__, "an nn.Module")
        self.in_channels = positive_int("in_channels", in_channels)
        self.module = module
        training = module.training
        module.eval()
        try:
            with torch.no_grad():
                A = self._map(torch.zeros(1, in_channels, positive_int("side", side), side))
        except (RuntimeError, TypeError) as error:
            need = f"a network of images 1×{in_channels}×{side}×{side}"
            raise bad("backbone", f"an error ({error})", need) from error
        finally:
            module.train(training)
        self.map_channels = self.feature_dim = A.shape[1]

    def stages(self) -> list[tuple[str, Callable[[Tensor], Tensor]]]:
        """The whole network is one step."""
        return [("module", self._map)]

    def _map(self, x: Tensor) -> Tensor:
        """What the network gives, as a map (B×C×h×w)."""
        return _as_map(self._features(x), int(getattr(self.module, "num_prefix_tokens", 0)))

    def _features(self, x: Tensor) -> Any:
        return self.module(x)


def _as_map(y: Any, extra: int) -> Tensor:
    """Features of any of the usual forms as B×C×h×w; ``extra`` tokens at the front stand for no position."""
    need = "a network that gives B×C×h×w, B×C, or tokens B×N×C"
    if not isinstance(y, Tensor) or y.ndim not in (2, 3, 4) or not y.is_floating_point():
        raise bad("backbone", f"shape {tuple(getattr(y, 'shape', ()))} of {type(y).__name__}", need)
    if y.ndim == 2:
        return y[:, :, None, None]
    if y.ndim == 4:
        return y
    tokens = y[:, extra:]  # B×N×C
    side = round(tokens.shape[1] ** 0.5)
    if side * side != tokens.shape[1]:
        raise bad("backbone", f"{tokens.shape[1]} tokens", "a network whose tokens fill a square")
    return tokens.transpose(1, 2).unflatten(2, (side, side))
