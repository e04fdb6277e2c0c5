"""Tests of dhida_lib.quantization (Eq. 1, 2, 15; Chapter 8)."""

import math

import numpy as np
import pytest
import torch

from dhida_lib.quantization import one_hot_codes, piecewise, quantization_error, sign, straight_through_sign

EDGES = [-math.inf, -1e30, -2.5, -1.0000001, -1.0, -0.3, -1e-30, -0.0, 0.0, 1e-30, 0.7, 1.0, 1.5, math.inf]


def loop_sign(u):
    return np.array([1.0 if value >= 0 else -1.0 for value in np.ravel(u)]).reshape(np.shape(u))


def loop_piecewise(u):
    def f(value):
        if value > 1:
            return 1.0
        return -1.0 if value < -1 else value

    return np.array([f(value) for value in np.ravel(u)]).reshape(np.shape(u))


def random_outputs(*shape):
    return 1.5 * torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def test_sign_is_eq_2():
    u = torch.tensor(EDGES, dtype=torch.float64)
    assert sign(u).tolist() == loop_sign(EDGES).tolist()
    assert sign(torch.zeros(2, 3)).tolist() == [[1, 1, 1], [1, 1, 1]]
    assert sign(-torch.zeros(1)).item() == 1  # −0.0 ≥ 0
    assert sign(torch.tensor(math.nan)).item() == -1
    assert sign(torch.empty(0, 4)).shape == (0, 4)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.int64]
)
def test_dtype_and_shape_stay(dtype):
    u = torch.tensor([[-3, 0, 2]], dtype=dtype)
    assert sign(u).dtype == piecewise(u).dtype == dtype
    assert sign(u).tolist() == [[-1, 1, 1]]
    assert piecewise(u).tolist() == [[-1, 0, 1]]


def test_sign_stops_the_gradient():
    assert not sign(torch.randn(3, requires_grad=True)).requires_grad


def test_piecewise_is_eq_1_and_keeps_the_code():
    u = torch.tensor(EDGES, dtype=torch.float64)
    assert piecewise(u).tolist() == loop_piecewise(EDGES).tolist()
    assert torch.equal(sign(piecewise(u)), sign(u))
    u = random_outputs(7, 5)
    np.testing.assert_array_equal(piecewise(u).numpy(), loop_piecewise(u.numpy()))
    assert torch.equal(sign(piecewise(u)), sign(u))


def test_gradient_of_piecewise():
    u = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], requires_grad=True)
    once = torch.autograd.grad(piecewise(u).sum(), u)[0]
    assert once.tolist() == [0, 1, 1, 1, 1, 1, 0]
    twice = torch.autograd.grad(piecewise(piecewise(u)).sum(), u)[0]
    assert torch.equal(once, twice)
    assert torch.autograd.gradcheck(piecewise, random_outputs(4, 3).requires_grad_())


def test_quantization_error():
    u = random_outputs(6, 5)
    by_hand = sum((value - (1 if value >= 0 else -1)) ** 2 for value in u.flatten().tolist()) / 30
    assert quantization_error(u).item() == pytest.approx(by_hand, rel=1e-12)
    assert quantization_error(torch.tensor([0.5, -0.5])).item() == 0.25
    assert quantization_error(torch.tensor([0.0])).item() == 1
    for dtype in (torch.float16, torch.float32, torch.float64, torch.int64):
        error = quantization_error(sign(u).to(dtype))
        assert error.item() == 0
        assert error.is_floating_point()
    assert quantization_error(torch.tensor([3, -1])).item() == 2
    assert torch.autograd.gradcheck(quantization_error, u.requires_grad_())


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_integers_do_not_overflow(dtype):
    """The square of int8 100 − 1 is no int8, and int8 has no +128."""
    lowest, highest = torch.iinfo(dtype).min, torch.iinfo(dtype).max
    ends = torch.tensor([lowest, -100, 0, 100, highest], dtype=dtype)
    assert piecewise(ends).tolist() == [-1, -1, 0, 1, 1]
    assert sign(ends).tolist() == [-1, -1, 1, 1, 1]
    for value in ends.tolist():
        by_hand = (value - (1 if value >= 0 else -1)) ** 2
        got = quantization_error(torch.tensor([value], dtype=dtype)).item()
        assert got == pytest.approx(by_hand, rel=1e-6)
    one = torch.tensor([100], dtype=dtype)
    assert quantization_error(one).item() == 99**2


def test_quantization_error_of_half_precision():
    for dtype in (torch.float16, torch.bfloat16):
        error = quantization_error(torch.tensor([-1000.0, 1000.0], dtype=dtype))
        assert error.dtype == torch.float32
        assert error.item() == pytest.approx(999**2, rel=1e-2)


def test_straight_through_sign():
    u = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)) * 1e3
    u[0] = torch.tensor([0.1, -0.1, 0.0, 1e-30])
    u.requires_grad_()
    h = straight_through_sign(u)
    assert torch.equal(h, sign(u))  # exactly ±1, no rounding
    weight = torch.arange(36.0).reshape(9, 4)
    assert torch.equal(torch.autograd.grad((weight * h).sum(), u)[0], weight)
    clipped = torch.autograd.grad((weight * straight_through_sign(piecewise(u))).sum(), u)[0]
    assert torch.equal(clipped, weight * (u.abs() <= 1))


def test_one_hot_codes():
    logits = torch.tensor([[0.1, 0.3, -2.0], [5.0, 5.0, 1.0], [-3.0, -2.0, -1.0], [-9.0, -9.5, -9.1]])
    expected = [[-1, 1, -1], [1, -1, -1], [-1, -1, 1], [1, -1, -1]]
    assert one_hot_codes(logits).tolist() == expected
    assert one_hot_codes(logits.double()).dtype == torch.float64
    codes = one_hot_codes(logits.clone().requires_grad_())
    assert not codes.requires_grad
    assert one_hot_codes(torch.empty(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("function", [sign, piecewise, quantization_error, straight_through_sign])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.complex64])
def test_numbers_that_cannot_be_signed_are_refused(function, dtype):
    with pytest.raises(ValueError, match="`u` must be a tensor of floating numbers or signed integers"):
        function(torch.ones(3, dtype=dtype))


@pytest.mark.parametrize("function", [sign, piecewise, quantization_error, straight_through_sign])
def test_only_tensors(function):
    with pytest.raises(ValueError, match="`u` must be a torch tensor, but got 'list'"):
        function([0.5, -0.5])


@pytest.mark.parametrize("function", [sign, piecewise, quantization_error, straight_through_sign])
@pytest.mark.parametrize("u", [torch.eye(3).to_sparse(), torch.ones(3).to(torch.float8_e5m2)])
def test_tensors_that_torch_cannot_compute_with_are_refused(function, u):
    with pytest.raises(ValueError, match=r"^`u` must be a tensor of floating numbers or signed integers"):
        function(u)


def test_other_errors():
    with pytest.raises(ValueError, match="at least one element"):
        quantization_error(torch.empty(0, 3))
    with pytest.raises(ValueError, match="integers have no gradient"):
        straight_through_sign(torch.tensor([1, -1]))
    for wrong in (torch.randn(3), torch.randn(2, 3, 4), torch.empty(3, 0)):
        with pytest.raises(ValueError, match=r"`logits` must be class scores \(n×c\)"):
            one_hot_codes(wrong)
    with pytest.raises(ValueError, match="`logits` must be a torch tensor"):
        one_hot_codes(np.zeros((2, 3)))
