"""Tests of dhida_lib.attention (Eq. 3–8; Chapters 5 to 7), against loops written apart from it."""

import math

import numpy as np
import pytest
import torch

from dhida_lib.attention import (
    ChannelAttention,
    Doubled,
    DualAttention,
    PlainConvolutions,
    PositionAttention,
    effective_number,
)

B, C, H, W = 2, 5, 3, 4
N = H * W
CASES = [("ida", "column"), ("ida", "row"), ("danet", "column"), ("flipped", "column")]
BRANCHES = [PositionAttention, ChannelAttention]


def feature_map(channels=C, seed=0, dtype=torch.float64):
    return torch.randn(B, channels, H, W, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def make(cls, *args, seed=1, scale=0.7, **kwargs):
    """A module in float64 whose α and β are not zero."""
    torch.manual_seed(seed)
    module = cls(*args, **kwargs).double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith(("alpha", "beta")):
                parameter.fill_(scale)
    return module


# ---- the same in loops, one number at a time -------------------------------------------------------------


def loop_conv(conv, a):
    """A 1×1 convolution on a map a (C×N)."""
    w, b = conv.weight.detach().numpy(), conv.bias.detach().numpy()
    out = np.zeros((w.shape[0], a.shape[1]))
    for o in range(w.shape[0]):
        for n in range(a.shape[1]):
            out[o, n] = b[o] + sum(w[o, c, 0, 0] * a[c, n] for c in range(a.shape[0]))
    return out


def loop_softmax_map(m, kind):
    """p[j][i] from affinities m[i][j]; ``kind`` says what is done to m before the softmax over i."""
    n = len(m)
    p = np.zeros((n, n))
    for j in range(n):
        column = [m[i][j] for i in range(n)]
        logits = []
        for i in range(n):
            row = [m[i][k] for k in range(n)]
            bonus = {
                "plus": 2 * m[i][j],
                "minus": 0.0,
                "max": max(column),
                "column": (max(column) + sum(column) / n) / 2,
                "row": (max(row) + sum(row) / n) / 2,
            }[kind]
            logits.append(bonus - m[i][j])
        total = sum(math.exp(value) for value in logits)
        for i in range(n):
            p[j][i] = math.exp(logits[i]) / total
    return p


def loop_position(module, A, kind):
    """(P, E) of Eq. 3–5 for a batch."""
    maps, outs = [], []
    for picture in A.detach().numpy():
        a = picture.reshape(picture.shape[0], -1)
        b, c, d = (loop_conv(conv, a) for conv in (module.query, module.key, module.value))
        n = a.shape[1]
        m = [[sum(b[k, i] * c[k, j] for k in range(b.shape[0])) for j in range(n)] for i in range(n)]
        p = loop_softmax_map(m, kind)
        e = np.zeros_like(a)
        for j in range(n):
            for k in range(a.shape[0]):
                e[k, j] = module.alpha.item() * sum(p[j][i] * d[k, i] for i in range(n)) + a[k, j]
        maps.append(p)
        outs.append(e.reshape(picture.shape))
    return np.array(maps), np.array(outs)


def loop_channel(module, A, kind):
    """(X, E) of Eq. 6–8 for a batch."""
    maps, outs = [], []
    for picture in A.detach().numpy():
        a = picture.reshape(picture.shape[0], -1)
        c, n = a.shape
        m = [[sum(a[i, k] * a[j, k] for k in range(n)) for j in range(c)] for i in range(c)]
        x = loop_softmax_map(m, kind)
        e = np.zeros_like(a)
        for j in range(c):
            for k in range(n):
                e[j, k] = module.beta.item() * sum(x[j][i] * a[i, k] for i in range(c)) + a[j, k]
        maps.append(x)
        outs.append(e.reshape(picture.shape))
    return np.array(maps), np.array(outs)


@pytest.mark.parametrize(
    ("variant", "reduce", "kind"),
    [
        ("ida", "column", "column"),
        ("ida", "row", "row"),
        ("danet", "column", "plus"),
        ("flipped", "column", "plus"),
    ],
)
def test_position_against_loops(variant, reduce, kind):
    module, A = make(PositionAttention, C, variant, reduce), feature_map()
    P, E = loop_position(module, A, kind)
    np.testing.assert_allclose(module.attention_map(A).detach(), P, rtol=1e-10)
    np.testing.assert_allclose(module(A).detach(), E, rtol=1e-10)
    assert module.attention_map(A).shape == (B, N, N)


@pytest.mark.parametrize(
    ("variant", "reduce", "kind"),
    [
        ("ida", "column", "column"),
        ("ida", "row", "row"),
        ("danet", "column", "max"),
        ("flipped", "column", "plus"),
    ],
)
def test_channel_against_loops(variant, reduce, kind):
    module, A = make(ChannelAttention, C, variant, reduce), feature_map()
    X, E = loop_channel(module, A, kind)
    np.testing.assert_allclose(module.attention_map(A).detach(), X, rtol=1e-10)
    np.testing.assert_allclose(module(A).detach(), E, rtol=1e-10)
    assert module.attention_map(A).shape == (B, C, C)


# ---- what the formulas imply -----------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "reduce"), CASES)
@pytest.mark.parametrize("cls", BRANCHES)
def test_weights_sum_to_one_over_i(cls, variant, reduce):
    P = make(cls, C, variant, reduce).attention_map(feature_map())  # [b, j, i]
    assert (P >= 0).all()
    torch.testing.assert_close(P.sum(dim=2), torch.ones_like(P.sum(dim=2)))
    assert (P.sum(dim=1) - 1).abs().max() > 1e-3  # and not over j


@pytest.mark.parametrize("cls", BRANCHES)
def test_max_and_mean_cancel_over_columns_and_only_there(cls):
    """softmax((max + mean)/2 − M) = softmax(−M), values and gradients; the other axis changes both."""
    weight = feature_map(seed=9).flatten(1)

    def run(module, minus_only):
        A = feature_map().requires_grad_()
        if minus_only:
            left = module.query(A).flatten(2) if cls is PositionAttention else A.flatten(2).transpose(1, 2)
            right = module.key(A).flatten(2) if cls is PositionAttention else left
            M = torch.einsum("bci,bcj->bij", left, right)
            P = torch.softmax(-M, dim=1).transpose(1, 2)
        else:
            P = module.attention_map(A)
        out = (P.flatten(1)[:, :C] * weight[:, :C]).sum() + (P**2).sum()
        inputs = [A] + [p for name, p in module.named_parameters() if name.startswith(("query", "key"))]
        return P.detach(), torch.autograd.grad(out, inputs)

    column, row = make(cls, C, reduce="column"), make(cls, C, reduce="row")
    row.load_state_dict(column.state_dict())
    P_minus, gradients_minus = run(column, minus_only=True)
    P_column, gradients_column = run(column, minus_only=False)
    P_row, gradients_row = run(row, minus_only=False)
    torch.testing.assert_close(P_column, P_minus, rtol=1e-10, atol=1e-14)
    for ours, expected in zip(gradients_column, gradients_minus, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)
    assert (P_row - P_minus).abs().max() > 1e-2
    assert (gradients_row[0] - gradients_minus[0]).abs().max() > 1e-2


def test_row_gives_every_j_the_same_bonus():
    module, A = make(PositionAttention, C, reduce="row"), feature_map()
    column = make(PositionAttention, C, reduce="column")
    ratio = (module.attention_map(A) / column.attention_map(A)).log()  # t_i − log Z_j
    bonus = ratio - ratio[:, :, :1]  # Z_j drops out
    torch.testing.assert_close(bonus, bonus[:, :1].expand_as(bonus))
    assert bonus.abs().max() > 1e-2


def test_ida_channel_by_columns_is_danet_channel():
    ida, danet, A = make(ChannelAttention, C, "ida"), make(ChannelAttention, C, "danet"), feature_map()
    torch.testing.assert_close(ida.attention_map(A), danet.attention_map(A), rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(ida(A), danet(A), rtol=1e-10, atol=1e-12)


def test_negated_query_turns_ida_position_into_plain_softmax():
    """With query negated, column IDA is softmax(+M), DANet's formula at full width."""
    module, A = make(PositionAttention, C, "ida", "column"), feature_map()
    expected, _ = loop_position(module, A, "plus")
    with torch.no_grad():
        module.query.weight.neg_()
        module.query.bias.neg_()
    np.testing.assert_allclose(module.attention_map(A).detach(), expected, rtol=1e-10)


def test_channel_affinities_are_symmetric_but_the_map_is_not():
    X = make(ChannelAttention, C).attention_map(feature_map())
    assert (X - X.transpose(1, 2)).abs().max() > 1e-3
    # −N_ij = log X_ji + log Z_j, so exchanging i and j leaves log X_ji + log Z_j alone.
    A1 = feature_map().flatten(2)
    logits = X.log() - X.log().diagonal(dim1=1, dim2=2).unsqueeze(2)  # N_jj − N_ij, [b, j, i]
    norms = (A1**2).sum(dim=2).unsqueeze(2)
    symmetric = norms - logits  # N_ij
    torch.testing.assert_close(symmetric, symmetric.transpose(1, 2))


@pytest.mark.parametrize(("variant", "reduce"), CASES)
def test_positions_can_be_permuted(variant, reduce):
    """Nothing knows where a position is: shuffle them going in, and they come out shuffled."""
    A, order = feature_map(), torch.randperm(N, generator=torch.Generator().manual_seed(5))

    def shuffle(T):
        return T.flatten(2)[:, :, order].view(B, C, H, W)

    for cls in (PositionAttention, ChannelAttention, DualAttention):
        module = make(cls, C, variant, reduce)
        torch.testing.assert_close(module(shuffle(A)), shuffle(module(A)))
    module = make(PositionAttention, C, variant, reduce)
    P = module.attention_map(A)
    torch.testing.assert_close(module.attention_map(shuffle(A)), P[:, order][:, :, order])


@pytest.mark.parametrize("variant", ["ida", "danet"])
def test_pictures_of_a_batch_do_not_meet(variant):
    module, A = make(DualAttention, C, variant), feature_map()
    torch.testing.assert_close(torch.cat([module(A[:1]), module(A[1:])]), module(A))


def test_average_pooling_leaves_one_weight_per_position():
    """GAP(D·Pᵀ) = D·(mean_j P_j·) and GAP(X·A) = X·GAP(A)."""
    A = feature_map()
    position, channel = make(PositionAttention, C), make(ChannelAttention, C)
    D, weights = position.value(A).flatten(2), position.attention_map(A).mean(dim=1)  # B×C×N, B×N
    expected = position.alpha * torch.einsum("bcn,bn->bc", D, weights) + A.mean(dim=(2, 3))
    torch.testing.assert_close(position(A).mean(dim=(2, 3)), expected)
    expected = channel.beta * torch.einsum("bji,bi->bj", channel.attention_map(A), A.mean(dim=(2, 3)))
    torch.testing.assert_close(channel(A).mean(dim=(2, 3)), expected + A.mean(dim=(2, 3)))


# ---- the start, gradients, sizes -------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "reduce"), CASES)
@pytest.mark.parametrize("cls", BRANCHES)
def test_a_branch_starts_as_the_identity_but_can_learn(cls, variant, reduce):
    module, A = cls(C, variant, reduce), feature_map(dtype=torch.float32)
    E = module(A)
    assert torch.equal(E, A)
    (E * feature_map(seed=2, dtype=torch.float32)).sum().backward()
    scalar = module.alpha if cls is PositionAttention else module.beta
    assert scalar.item() == 0
    assert scalar.shape == ()
    assert abs(scalar.grad.item()) > 1e-3


def test_dual_attention_starts_at_2a_or_a():
    A = feature_map(dtype=torch.float32)
    for variant in ("ida", "danet"):
        assert torch.equal(DualAttention(C, variant)(A), 2 * A)
        assert torch.equal(DualAttention(C, variant, fusion="mean")(A), A)
    assert torch.equal(PlainConvolutions(C)(A), 2 * A)
    assert torch.equal(Doubled(C)(A), 2 * A)


def test_dual_attention_fuses_its_branches():
    A = feature_map()
    module = make(DualAttention, C, "ida", "row")
    torch.testing.assert_close(module(A), module.position(A) + module.channel(A))
    half = make(DualAttention, C, "ida", "row", fusion="mean")
    torch.testing.assert_close(half(A), module(A) / 2)
    assert module.position.reduce == module.channel.reduce == "row"
    assert make(DualAttention, C, "danet").channel.variant == "danet"


def test_plain_convolutions_as_documented():
    module, A = make(PlainConvolutions, C, scale=0.4), feature_map()
    out = module(A).detach().numpy()
    for b, picture in enumerate(A.numpy()):
        a = picture.reshape(C, N)
        deep = loop_conv(module.value, np.maximum(loop_conv(module.key, a), 0))
        flat = np.maximum(loop_conv(module.query, a), 0)
        np.testing.assert_allclose(out[b].reshape(C, N), 2 * a + 0.4 * deep + 0.4 * flat, rtol=1e-10)


@pytest.mark.parametrize("channels", [1, 5, 19, 64])
def test_parameter_counts(channels):
    def count(module):
        return sum(p.numel() for p in module.parameters())

    square = channels * channels + channels
    assert count(DualAttention(channels)) == count(PlainConvolutions(channels)) == 3 * square + 2
    inner = max(1, channels // 8)
    assert count(DualAttention(channels, "danet")) == 2 * inner * (channels + 1) + square + 2
    assert count(Doubled(channels)) == 0


def test_controls_start_like_ida_under_one_seed():
    torch.manual_seed(4)
    ida = DualAttention(C)
    torch.manual_seed(4)
    plain = PlainConvolutions(C)
    for name in ("query", "key", "value"):
        assert torch.equal(getattr(ida.position, name).weight, getattr(plain, name).weight)


@pytest.mark.parametrize(("variant", "reduce"), CASES)
def test_gradcheck(variant, reduce):
    A = feature_map(channels=3)[:, :, :2, :3].clone().requires_grad_()
    module = make(DualAttention, 3, variant, reduce)
    parameters = dict(module.named_parameters())

    def run(A, *values):
        return torch.func.functional_call(module, dict(zip(parameters, values, strict=True)), (A,))

    assert torch.autograd.gradcheck(run, (A, *parameters.values()))


def test_gradcheck_of_plain_convolutions():
    module = make(PlainConvolutions, 3)
    assert torch.autograd.gradcheck(module, feature_map(channels=3)[:, :, :2].clone().requires_grad_())


# ---- numbers that are too large, half precision ----------------------------------------------------------


@pytest.mark.parametrize(("variant", "reduce"), CASES)
@pytest.mark.parametrize("cls", BRANCHES)
@pytest.mark.parametrize("scale", [1e2, 1e6])
def test_large_affinities_stay_finite(cls, variant, reduce, scale):
    torch.manual_seed(0)
    module, A = cls(C, variant, reduce), feature_map(dtype=torch.float32).mul(scale).requires_grad_()
    P = module.attention_map(A)
    assert torch.isfinite(P).all()
    torch.testing.assert_close(P.sum(dim=2), torch.ones_like(P.sum(dim=2)))
    assert torch.isfinite(torch.autograd.grad(module(A).sum(), A)[0]).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("variant", ["ida", "danet"])
def test_autocast_keeps_affinities_in_float32(variant, dtype):
    """A·A is about 10⁶ here, more than float16 can hold; plain autocast would give NaN."""
    torch.manual_seed(0)
    module, A = DualAttention(C, variant), feature_map(dtype=torch.float32) * 300
    with torch.autocast("cpu", dtype=dtype):
        low = module.channel.attention_map(A)
        out = module(A)
        out_low = module(A.to(dtype))
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, module.channel.attention_map(A))
    assert torch.isfinite(out).all()
    assert torch.isfinite(out_low).all()


@pytest.mark.parametrize("variant", ["ida", "danet"])
def test_a_module_in_bfloat16(variant):
    torch.manual_seed(0)
    module, A = DualAttention(C, variant), feature_map(dtype=torch.float32)
    with torch.no_grad():
        module.position.alpha.fill_(0.5)
        module.channel.beta.fill_(0.5)
    expected = module(A)
    out = module.bfloat16()(A.bfloat16())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, rtol=0.1, atol=0.1)
    assert module.position.attention_map(A.bfloat16()).dtype == torch.float32


def test_channels_last_maps():
    module, A = make(DualAttention, C), feature_map()
    torch.testing.assert_close(module(A.contiguous(memory_format=torch.channels_last)), module(A))


def test_effective_number_counts_equal_shares():
    for k in (1, 3, 7):
        weights = torch.zeros(7)
        weights[:k] = 1 / k
        torch.testing.assert_close(effective_number(weights), torch.tensor(float(k)))
    P = make(PositionAttention, C).attention_map(feature_map())
    numbers = effective_number(P)
    assert numbers.shape == (B, N)
    assert ((numbers >= 1) & (numbers <= N)).all()
    with pytest.raises(ValueError, match="`weights` must be rows that sum to 1, but got"):
        effective_number(torch.tensor([[0.5, 0.5], [1.0, 1.0]]))
    with pytest.raises(ValueError, match="weights"):
        effective_number(torch.tensor([float("nan"), 1.0]))


# ---- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [PositionAttention, ChannelAttention, DualAttention])
def test_wrong_arguments(cls):
    with pytest.raises(ValueError, match="`channels` must be a positive integer"):
        cls(0)
    with pytest.raises(ValueError, match="`variant` must be one of 'ida', 'danet'"):
        cls(C, "cbam")
    with pytest.raises(ValueError, match="`reduce` must be one of 'column', 'row'"):
        cls(C, reduce="global")
    with pytest.raises(ValueError, match="`reduce` must be left at"):
        cls(C, "danet", "row")
    with pytest.raises(ValueError, match="`reduce` must be left at"):
        cls(C, "flipped", "row")


def test_flipped_has_idas_parameters():
    ida, flipped = DualAttention(C), DualAttention(C, "flipped")
    shapes = {name: p.shape for name, p in ida.named_parameters()}
    assert {name: p.shape for name, p in flipped.named_parameters()} == shapes


def test_wrong_fusion_and_channels_of_controls():
    with pytest.raises(ValueError, match="`fusion` must be one of 'sum', 'mean'"):
        DualAttention(C, fusion="max")
    for cls in (Doubled, PlainConvolutions):
        with pytest.raises(ValueError, match="`channels` must be a positive integer"):
            cls(2.5)


@pytest.mark.parametrize(
    "cls", [PositionAttention, ChannelAttention, DualAttention, Doubled, PlainConvolutions]
)
def test_wrong_maps(cls):
    module = cls(C)
    for wrong in (torch.randn(C, H, W), torch.randn(B, C + 1, H, W), torch.ones(B, C, H, W).long(), "A"):
        with pytest.raises(ValueError, match="`A` must be a floating feature map B×5×H×W"):
            module(wrong)
    if hasattr(module, "attention_map"):
        with pytest.raises(ValueError, match="B×5×H×W"):
            module.attention_map(torch.randn(B, C, N))


@pytest.mark.parametrize(
    "cls", [PositionAttention, ChannelAttention, DualAttention, Doubled, PlainConvolutions]
)
def test_maps_that_no_module_can_read(cls):
    module = cls(C)
    for wrong in (
        torch.randn(B, C, H, W).to_sparse(),
        torch.randn(B, C, H, W).to(torch.float8_e5m2),
        torch.empty(B, C, 0, W),
    ):
        with pytest.raises(ValueError, match="`A` must be a floating feature map B×5×H×W, dense"):
            module(wrong)
    if cls in (PositionAttention, DualAttention, PlainConvolutions):
        for wrong in (torch.randn(B, C, H, W).double(), torch.randn(B, C, H, W).half()):
            with pytest.raises(ValueError, match=r"`A` must be .* of this module's torch.float32 on cpu"):
                module(wrong)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert module(torch.randn(B, C, H, W).bfloat16()).shape == (B, C, H, W)


@pytest.mark.parametrize(
    "weights",
    [
        None,
        "ab",
        [0.5, 0.5],
        torch.ones(1, dtype=torch.int64),
        torch.ones(1, device="meta"),
        torch.tensor(1.0),
    ],
)
def test_effective_number_of_what_has_no_rows(weights):
    with pytest.raises(ValueError, match=r"^`weights` must be"):
        effective_number(weights)


def test_shapes_are_known_without_computing():
    with torch.device("meta"):
        module, A = DualAttention(8), torch.empty(2, 8, 3, 5)
    assert module(A).shape == A.shape


def test_a_module_shows_its_settings():
    assert "8, variant='ida', reduce='row'" in repr(PositionAttention(8, reduce="row"))
    assert "fusion='mean'" in repr(DualAttention(8, fusion="mean"))
    assert repr(Doubled(4)) == "Doubled(4)"
