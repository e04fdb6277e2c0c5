"""Improved dual attention (IDA), §3.3 of the paper, built in Chapters 5 (position), 6 (channel) and 7 (both).

Read it beside §3.3: the names are the paper's, A is the feature map of a backbone, HW the number of its
positions. The channels' matrix, which the paper calls N like that number, is G here (a Gram matrix).

    position  M_ij = B_i·C_j  M̃_ij = (max + mean)/2 − M_ij  P_ji = softmax over i  E_j = α Σ_i P_ji D_i + A_j
    channel   G_ij = A_i·A_j  G̃_ij = (max + mean)/2 − G_ij  X_ji = softmax over i  E_j = β Σ_i X_ji A_i + A_j

The paper does not say over what max and mean run. ``reduce="column"``: over i for each j, the softmax's own
axis. Then (max + mean)/2 is one number for the whole softmax and cancels: P is softmax(−M), in values and in
gradients. ``reduce="row"``: over j for each i. Then it stays, and gives i the same bonus for every j.
Chapter 7 proves and measures both. Variant ``"danet"`` is Fu et al.'s dual attention as its code has it.

Figure 2 puts one more convolution before A. Table 1 has none, so A here is what the caller passes.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from dhida_lib._validate import bad, choice, computable, positive_int, same_type

__all__ = [
    "ATTENTIONS",
    "ChannelAttention",
    "Doubled",
    "DualAttention",
    "PlainConvolutions",
    "PositionAttention",
    "build_attention",
    "effective_number",
]


class PositionAttention(nn.Module):
    """Every position of a feature map becomes a weighted sum of all positions, plus itself.

    ``variant="ida"``: B, C, D by three 1×1 convolutions that keep the C channels, softmax of M̃ (Eq. 3–5).
    ``variant="danet"``: B and C have max(1, C//8) channels, softmax of +M, no max and no mean.
    ``variant="flipped"``: a control, IDA's widths with softmax of +M.

    Negate ``query`` (weight and bias) and M changes its sign. So the minus of ``reduce="column"``, where
    P = softmax(−M), is no difference that learning could not undo: what remains is the width of B and C.

    Args:
        channels: C, the channels of the map.
        variant: ``"ida"``, ``"danet"`` or ``"flipped"``.
        reduce: over what max and mean of M run: ``"column"`` (over i for each j) or ``"row"`` (over j for
            each i). Only IDA has them, so ``"row"`` is refused with the other variants.

    Attributes:
        query, key, value: the 1×1 convolutions that give B, C and D. The names are DANet's, in the order of
            the letters. The position that looks, j, owns C_j (`key`); the softmax runs over those that are
            looked at, which own B_i (`query`). Elsewhere these two names are the other way round.
        alpha: the learnt scalar α; it starts at 0, and the output is then exactly A.

    Raises:
        ValueError: for an argument outside these choices.

    Source: Eq. (3)–(5), Fig. 2; built in Chapter 5.
    """

    def __init__(self, channels: int, variant: str = "ida", reduce: str = "column") -> None:
        super().__init__()
        self.channels, self.variant, self.reduce = _arguments(channels, variant, reduce)
        inner = max(1, channels // 8) if variant == "danet" else channels
        self.query = nn.Conv2d(channels, inner, kernel_size=1)  # A → B
        self.key = nn.Conv2d(channels, inner, kernel_size=1)  # A → C
        self.value = nn.Conv2d(channels, channels, kernel_size=1)  # A → D
        self.alpha = nn.Parameter(torch.zeros(()))

    def attention_map(self, A: Tensor) -> Tensor:
        """P of Eq. 4: how much of position i goes into position j.

        Args:
            A: feature map B×C×H×W.

        Returns:
            P, B×HW×HW with ``P[b, j, i]`` = P_ji ≥ 0 and Σ_i P_ji = 1; float32 (float64 for a float64 map).

        Raises:
            ValueError: if A is not such a map.
        """
        _check_map(A, self.channels, self.query)
        B = self.query(A).flatten(2)  # B×C×HW (B×C/8×HW in DANet)
        C = self.key(A).flatten(2)  # the same
        M = _inner_products(B, C)  # B×HW×HW, [b, i, j]
        M_tilde = _improve(M, self.reduce) if self.variant == "ida" else M  # Eq. 3
        return M_tilde.softmax(dim=1).transpose(1, 2)  # Eq. 4, B×HW×HW, [b, j, i]

    def extra_repr(self) -> str:
        """The settings, for ``print(module)``."""
        return f"{self.channels}, variant={self.variant!r}, reduce={self.reduce!r}"

    def forward(self, A: Tensor) -> Tensor:
        """E of Eq. 5.

        Args:
            A: feature map B×C×H×W.

        Returns:
            E, B×C×H×W; equal to A while α = 0.

        Raises:
            ValueError: if A is not such a map.
        """
        P = self.attention_map(A)  # B×HW×HW, [b, j, i]
        D = self.value(A).flatten(2)  # B×C×HW
        E = torch.bmm(D, P.transpose(1, 2).to(D.dtype))  # Σ_i P_ji D_i, B×C×HW
        return self.alpha * E.view_as(A) + A  # Eq. 5, B×C×H×W


class ChannelAttention(nn.Module):
    """Every channel of a feature map becomes a weighted sum of all channels, plus itself.

    There are no convolutions: G_ij = A_i·A_j, an inner product over the positions. So G is symmetric, and the
    max over a column is the max over the same row; ``reduce`` still matters, as it says whether the softmax
    over i sees it as a constant (``"column"``) or as a bonus for channel i (``"row"``).

    ``variant="danet"`` is its released code's softmax(max − G). The max cancels too: ``"danet"`` and
    ``"ida"`` with ``"column"`` are one function, softmax(−G): a channel looks most at those *least* like it.
    ``variant="flipped"`` is a control, softmax(+G): it looks most at those most like it.

    Args:
        channels: C, the channels of the map.
        variant: ``"ida"``, ``"danet"`` or ``"flipped"``.
        reduce: ``"column"`` (over i for each j) or, only with ``"ida"``, ``"row"`` (over j for each i).

    Attributes:
        beta: the learnt scalar β; it starts at 0, and the output is then exactly A.

    Raises:
        ValueError: for an argument outside these choices.

    Source: Eq. (6)–(8), Fig. 2; built in Chapter 6.
    """

    def __init__(self, channels: int, variant: str = "ida", reduce: str = "column") -> None:
        super().__init__()
        self.channels, self.variant, self.reduce = _arguments(channels, variant, reduce)
        self.beta = nn.Parameter(torch.zeros(()))

    def attention_map(self, A: Tensor) -> Tensor:
        """X of Eq. 7: how much of channel i goes into channel j.

        Args:
            A: feature map B×C×H×W.

        Returns:
            X, B×C×C with ``X[b, j, i]`` = X_ji ≥ 0 and Σ_i X_ji = 1; float32 (float64 for a float64 map).

        Raises:
            ValueError: if A is not such a map.
        """
        _check_map(A, self.channels)
        A1_T = A.flatten(2).transpose(1, 2)  # B×HW×C
        G = _inner_products(A1_T, A1_T)  # B×C×C, [b, i, j]
        G_tilde = _improve(G, self.reduce) if self.variant == "ida" else G  # Eq. 6
        if self.variant == "danet":
            G_tilde = G.amax(dim=1, keepdim=True) - G
        return G_tilde.softmax(dim=1).transpose(1, 2)  # Eq. 7, B×C×C, [b, j, i]

    def extra_repr(self) -> str:
        """The settings, for ``print(module)``."""
        return f"{self.channels}, variant={self.variant!r}, reduce={self.reduce!r}"

    def forward(self, A: Tensor) -> Tensor:
        """E of Eq. 8 (the sum runs over the C channels; the paper prints N).

        Args:
            A: feature map B×C×H×W.

        Returns:
            E, B×C×H×W; equal to A while β = 0.

        Raises:
            ValueError: if A is not such a map.
        """
        X = self.attention_map(A)  # B×C×C, [b, j, i]
        A1 = A.flatten(2)  # B×C×HW
        E = torch.bmm(X.to(A1.dtype), A1)  # Σ_i X_ji A_i, B×C×HW
        return self.beta * E.view_as(A) + A  # Eq. 8, B×C×H×W


class DualAttention(nn.Module):
    """The IDA module: position and channel attention side by side on the same map, then fused.

    With ``fusion="sum"``, the paper's, the output is 2A at the start: compare it with `Doubled`, not with
    no attention. ``"mean"`` is half the sum and starts at A.

    Args:
        channels: C, the channels of the map.
        variant: ``"ida"``, ``"danet"`` or ``"flipped"``, for both branches.
        reduce: ``"column"`` or ``"row"``, for both branches.
        fusion: ``"sum"`` or ``"mean"``.

    Attributes:
        position, channel: the two branches.

    Raises:
        ValueError: for an argument outside these choices.

    Example:
        >>> import torch
        >>> A = torch.randn(2, 8, 7, 7)
        >>> torch.equal(DualAttention(8)(A), 2 * A)  # α and β start at 0
        True

    Source: §3.3, Fig. 2; built in Chapter 7.
    """

    def __init__(
        self, channels: int, variant: str = "ida", reduce: str = "column", fusion: str = "sum"
    ) -> None:
        super().__init__()
        self.fusion = choice("fusion", fusion, ("sum", "mean"))
        self.position = PositionAttention(channels, variant, reduce)
        self.channel = ChannelAttention(channels, variant, reduce)

    def extra_repr(self) -> str:
        """The settings, for ``print(module)``."""
        return f"fusion={self.fusion!r}"

    def forward(self, A: Tensor) -> Tensor:
        """Both branches, fused.

        Args:
            A: feature map B×C×H×W.

        Returns:
            A map of the same shape.

        Raises:
            ValueError: if A is not such a map.
        """
        total = self.position(A) + self.channel(A)  # B×C×H×W
        return total / 2 if self.fusion == "mean" else total


class Doubled(nn.Module):
    """A control: 2A, what `DualAttention` returns before it has learnt anything.

    Sum fusion doubles the features and the gradients of the backbone. If attention beats "none" but not
    this, the gain came from the factor 2.

    Args:
        channels: C, the channels of the map.

    Raises:
        ValueError: if ``channels`` is not a positive integer.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = positive_int("channels", channels)

    def extra_repr(self) -> str:
        """The settings, for ``print(module)``."""
        return str(self.channels)

    def forward(self, A: Tensor) -> Tensor:
        """Return 2A for a feature map A (B×C×H×W)."""
        return 2 * _check_map(A, self.channels)


class PlainConvolutions(nn.Module):
    """A control: the parameters of IDA's `DualAttention` to the last one, but no attention.

    The same three 1×1 convolutions and two scalars make two residual branches in which no position sees
    another and no map depends on a product of features:

        E = α value(relu(key(A))) + A  +  β relu(query(A)) + A

    It starts at 2A like sum fusion. Under one seed the convolutions start like those of `DualAttention`.
    If attention does not beat this, the gain came from the parameters.

    Args:
        channels: C, the channels of the map.

    Attributes:
        query, key, value, alpha, beta: as in the attention branches.

    Raises:
        ValueError: if ``channels`` is not a positive integer.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = positive_int("channels", channels)
        self.query = nn.Conv2d(channels, channels, kernel_size=1)
        self.key = nn.Conv2d(channels, channels, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.alpha = nn.Parameter(torch.zeros(()))
        self.beta = nn.Parameter(torch.zeros(()))

    def extra_repr(self) -> str:
        """The settings, for ``print(module)``."""
        return str(self.channels)

    def forward(self, A: Tensor) -> Tensor:
        """Return E (B×C×H×W) for a feature map A (B×C×H×W)."""
        _check_map(A, self.channels, self.query)
        deep = self.alpha * self.value(self.key(A).relu()) + A  # B×C×H×W
        flat = self.beta * self.query(A).relu() + A  # B×C×H×W
        return deep + flat


def effective_number(weights: Tensor) -> Tensor:
    """How many entries share the weight: 1/Σp² of weights that sum to 1.

    It is k if k entries share equally and the others have nothing, and between 1 and their number always.

    Args:
        weights: non-negative numbers that sum to 1 along the last axis, such as an attention map B×HW×HW.

    Returns:
        One number for each row: the shape of ``weights`` without its last axis.

    Raises:
        ValueError: if a row does not sum to 1, or ``weights`` is no floating tensor.

    Example:
        >>> import torch
        >>> effective_number(torch.tensor([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0]]))
        tensor([4., 1.])

    Source: the inverse participation ratio; built in Chapter 5.
    """
    if not isinstance(weights, Tensor) or not weights.is_floating_point() or not computable(weights):
        raise bad("weights", getattr(weights, "dtype", type(weights).__name__), "a dense floating tensor")
    if weights.ndim == 0 or weights.is_meta:
        raise bad("weights", f"shape {tuple(weights.shape)} on {weights.device}", "rows of numbers")
    excess = weights.sum(-1).flatten() - 1
    if excess.numel() and not (excess.abs().max() < 1e-3):  # also if it is nan
        worst = excess[excess.abs().argmax()] + 1
        raise bad("weights", f"a row that sums to {worst:.4g}", "rows that sum to 1")
    return 1 / weights.square().sum(-1)


def _improve(M: Tensor, reduce: str) -> Tensor:
    """Eq. 3 and 6: (max + mean)/2 − M for M[b, i, j], max and mean over the axis that ``reduce`` names."""
    axis = 1 if reduce == "column" else 2  # over i for each j, or over j for each i
    return (M.amax(axis, keepdim=True) + M.mean(axis, keepdim=True)) / 2 - M


def _inner_products(X: Tensor, Y: Tensor) -> Tensor:
    """X_i·Y_j for all columns i of X (B×d×n) and j of Y (B×d×m): B×n×m.

    In float32 at least, also under autocast: float16 overflows at 65,504, and inf − inf is NaN.
    """
    dtype = torch.promote_types(X.dtype, torch.float32)
    # On "meta" nothing is computed, only shapes are: autocast refuses to know it.
    with nullcontext() if X.is_meta else torch.autocast(X.device.type, enabled=False):
        return torch.bmm(X.to(dtype).transpose(1, 2), Y.to(dtype))


def _arguments(channels: int, variant: str, reduce: str) -> tuple[int, str, str]:
    """Check the constructor's arguments, which both branches share."""
    positive_int("channels", channels)
    choice("variant", variant, ("ida", "danet", "flipped"))
    choice("reduce", reduce, ("column", "row"))
    if variant != "ida" and reduce != "column":
        raise bad("reduce", reduce, f'left at "column" with variant="{variant}", which has no such choice')
    return channels, variant, reduce


def _check_map(A: Tensor, channels: int, convolution: nn.Conv2d | None = None) -> Tensor:
    """Return A if it is a floating map B×C×H×W that ``convolution`` can read, else raise ``ValueError``."""
    need = f"a floating feature map B×{channels}×H×W"
    if not isinstance(A, Tensor) or A.ndim != 4 or A.shape[1] != channels or not A.is_floating_point():
        got = f"shape {tuple(A.shape)} of {A.dtype}" if isinstance(A, Tensor) else type(A).__name__
        raise bad("A", got, need)
    if not computable(A) or 0 in A.shape[2:]:
        got = f"shape {tuple(A.shape)} of {A.dtype}, {A.layout}"
        raise bad("A", got, f"{need}, dense, H and W at least 1")
    if convolution is not None and not same_type(A, own := convolution.weight):
        raise bad("A", f"{A.dtype} on {A.device}", f"{need} of this module's {own.dtype} on {own.device}")
    return A


ATTENTIONS = ("none", "double", "conv", "flipped", "danet", "ida")
"""The names that `build_attention` takes; the second to the fourth are controls."""


def build_attention(name: str, channels: int, reduce: str = "column", fusion: str = "sum") -> nn.Module:
    """The module that stands between map and pooling.

    Args:
        name: one of `ATTENTIONS`.
        channels: C, the channels of the map.
        reduce: ``"column"`` or ``"row"``, a choice only with ``"ida"``.
        fusion: ``"sum"`` or ``"mean"``, a choice only with the variants of `DualAttention`.

    Returns:
        A module from maps to maps of the same shape.

    Raises:
        ValueError: for an argument outside these choices.

    Source: Fig. 1; built in Chapter 7.
    """
    choice("attention", name, ATTENTIONS)
    choice("reduce", reduce, ("column", "row"))
    choice("fusion", fusion, ("sum", "mean"))
    if reduce != "column" and name != "ida":
        raise bad("reduce", reduce, f'left at "column" with attention={name!r}: only "ida" has a choice')
    plain = {"none": nn.Identity, "double": Doubled, "conv": PlainConvolutions}
    if name not in plain:
        return DualAttention(channels, name, reduce, fusion)
    if fusion != "sum":
        raise bad("fusion", fusion, f'left at "sum" with attention={name!r}, which fuses nothing')
    return plain[name](channels)
