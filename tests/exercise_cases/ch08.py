"""Wrong answers to the exercises of Chapter 8."""

import math

import torch

from dhida_lib.quantization import piecewise, quantization_error, sign, straight_through_sign

C = math.sqrt(2 / math.pi)


def spread(two=2.0, one=1.0, square=2, best=C):
    return lambda tau: (tau**square - two * C * tau + one, best)


def leaky_with_jump(u, a):
    return torch.where(u.abs() <= 1, u, a * u)


def leaky_without_gradient(u, a):
    clamped = u.clamp(-1, 1)
    return (clamped + a * (u - clamped)).detach()


def leak_detached(u, a):
    clamped = u.clamp(-1, 1)
    return clamped + (a * (u - clamped)).detach()


def leaky_added_everywhere(u, a):
    return u.clamp(-1, 1) + a * u


def leaky_only_above(u, a):
    return torch.where(u > 1, 1 + a * (u - 1), u.clamp(min=-1))


def leaky_only_below(u, a):
    return torch.where(u < -1, -1 + a * (u + 1), u.clamp(max=1))


def leaky_bent(u, a):
    return u.clamp(-1, 1) + a * (u.abs() - u.clamp(-1, 1).abs())


def with_torch_sign(u):
    clamped = u.clamp(-1, 1)
    return torch.sign(u) + clamped - clamped.detach()


def zero_is_minus_one(u):
    clamped = u.clamp(-1, 1)
    return torch.where(u > 0, 1.0, -1.0) + clamped - clamped.detach()


def turned_round(u):
    outside = u - u.clamp(-1, 1)
    return sign(u) + outside - outside.detach()


def no_graph_but_a_gradient(u):
    return sign(u) + 0 * u


REPORT = {
    "prediction": "It rises, because stuck bits come back.",
    "clamp": [0.55, 0.58, 0.53],
    "changed": [0.51, 0.54, 0.50],
    "control": [0.52, 0.55, 0.50],
    "conclusion": "It falls for one start; nothing is shown for networks.",
}

WRONG = {
    "8.1": [
        ("the 2 forgotten", spread(two=1.0), "the 2 of the mixed term"),
        ("plus instead of minus", spread(two=-2.0), "the mixed term has the wrong sign"),
        ("the 1 forgotten", spread(one=0.0), "sign(u)² is 1"),
        ("no mixed term", spread(two=0.0), "the mixed term is missing"),
        ("not squared", spread(square=1), "E u² is τ², not τ"),
        ("all numbers alike", lambda tau: ((tau - 1) ** 2, 1.0), "u is not always near ±τ"),
        ("the least error", spread(best=1 - 2 / math.pi), "asked is the τ where it lies"),
        ("one", spread(best=1.0), "Gaussian numbers are not"),
        ("no root", spread(best=2 / math.pi), "the square root is missing"),
        ("the inverse", spread(best=1 / C), "this is √(π/2)"),
        ("twice", spread(best=2 * C), "lies at c, not at 2c"),
        ("half", spread(best=C / 2), "lies at c, not at c/2"),
        ("zero", spread(best=0.0), "it can be lower"),
        ("only the errors", lambda tau: spread()(tau)[0], "it should give two things"),
    ],
    "8.2": [
        ("a jump at ±1", leaky_with_jump, "there is a jump at ±1"),
        ("no gradient", leaky_without_gradient, "lets no gradient through"),
        ("the leak detached", leak_detached, "the leak is detached"),
        ("plain f", lambda u, a: u.clamp(-1, 1), "the leak a is not used"),
        ("the leak also inside", leaky_added_everywhere, "the leak is added inside as well"),
        ("only the upper side leaks", leaky_only_above, "only the upper side leaks"),
        ("only the lower side leaks", leaky_only_below, "only the lower side leaks"),
        ("bent below", leaky_bent, "below −1 the line goes the wrong way"),
    ],
    "8.3": [
        ("the sign alone", lambda u: torch.where(u >= 0, 1.0, -1.0), "lets no gradient through"),
        ("torch.sign alone", torch.sign, "it gives 0 at u = 0"),
        ("zero becomes 0", with_torch_sign, "it gives 0 at u = 0"),
        ("zero becomes −1", zero_is_minus_one, "it gives −1 at u = 0"),
        ("not clipped", straight_through_sign, "it is let through everywhere"),
        ("turned round", turned_round, "it is turned round"),
        ("a gradient of zeros", no_graph_but_a_gradient, "it is 0 everywhere"),
        ("f instead of the sign", piecewise, "this is f(u)"),
        ("tanh of a steep slope", lambda u: torch.tanh(50 * u), "it gives 0 at u = 0"),
        ("tanh, moved", lambda u: torch.tanh(9 * u + 1), "no number in between"),
    ],
    "8.4": [
        ("as it stood", lambda u: ((u - straight_through_sign(u)) ** 2).mean(), "still cancels that of u"),
        ("all of it detached", lambda u: quantization_error(u.detach()), "lets no gradient through"),
        (
            "the wrong one detached",
            lambda u: ((u.detach() - straight_through_sign(u)) ** 2).mean(),
            "the code moves",
        ),
        ("torch.sign", lambda u: ((u - torch.sign(u)) ** 2).mean(), "Eq. 2 says +1"),
        ("of f(u)", lambda u: quantization_error(piecewise(u)), "the distance of f(u) to its code"),
        ("a sum", lambda u: ((u - sign(u)) ** 2).sum(), "this is a sum"),
        ("not squared", lambda u: (u - sign(u)).abs().mean(), "without the square"),
    ],
    "8.5": [
        ("no control", {k: v for k, v in REPORT.items() if k != "control"}, "no entry 'control'"),
        ("two seeds", REPORT | {"changed": [0.5, 0.5]}, "fewer than 3 seeds"),
        ("the change does not reach the run", REPORT | {"changed": REPORT["clamp"]}, "does the change reach"),
        ("no reason", REPORT | {"prediction": "it rises"}, "the prediction should be a sentence"),
    ],
}
