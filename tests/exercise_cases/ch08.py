"""Wrong answers to the exercises of Chapter 8."""

import torch

from dhida_lib.quantization import piecewise, straight_through_sign


def leaky_with_jump(u, a):
    return torch.where(u.abs() <= 1, u, a * u)


def leaky_without_gradient(u, a):
    clamped = u.clamp(-1, 1)
    return (clamped + a * (u - clamped)).detach()


def leaky_added_everywhere(u, a):
    return u.clamp(-1, 1) + a * u


def leaky_only_above(u, a):
    return torch.where(u > 1, 1 + a * (u - 1), u.clamp(min=-1))


def with_torch_sign(u):
    clamped = u.clamp(-1, 1)
    return torch.sign(u) + clamped - clamped.detach()


WRONG = {
    "8.1": [
        ("any instead of all", lambda u: (u.abs() > 1).any(dim=0)),
        ("over the bits instead of the images", lambda u: (u.abs() > 1).all(dim=1)),
        ("only the upper side", lambda u: (u > 1).all(dim=0)),
        ("at exactly 1 counts as dead", lambda u: (u.abs() >= 1).all(dim=0)),
        ("a share instead of a yes or no", lambda u: (u.abs() > 1).float().mean(dim=0)),
        ("the mean size is beyond 1", lambda u: u.abs().mean(dim=0) > 1),
    ],
    "8.2": [
        ("a jump at ±1", leaky_with_jump),
        ("no gradient", leaky_without_gradient),
        ("plain f", lambda u, a: u.clamp(-1, 1)),
        ("the leak also inside", leaky_added_everywhere),
        ("only the upper side leaks", leaky_only_above),
    ],
    "8.3": [
        ("the sign alone", lambda u: torch.where(u >= 0, 1.0, -1.0)),
        ("torch.sign alone", torch.sign),
        ("zero becomes 0", with_torch_sign),
        ("not clipped", straight_through_sign),
        ("f instead of the sign", piecewise),
        ("tanh of a steep slope", lambda u: torch.tanh(50 * u)),
    ],
}
