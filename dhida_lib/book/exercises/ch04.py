"""Checks of Chapter 4's exercises: backbone and hash layer."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from dhida_lib.book.checks import exercise, expect, expect_close
from dhida_lib.models import HashNetwork


@exercise("4.1")
def ex_4_1(answer: Any) -> str:
    """First and last pixel of a position's receptive field."""
    networks = [
        [(3, 1, 1)],
        [(3, 2, 1)],
        [(7, 2, 3), (3, 2, 1)],
        [(3, 1, 0), (5, 3, 2), (2, 2, 0)],
        [(7, 2, 3), (3, 2, 1), *[(3, 1, 1)] * 4, *[(3, 2, 1), *[(3, 1, 1)] * 3] * 3],
    ]
    for layers in networks:
        for q in (0, 3):
            first = last = q
            for k, s, p in reversed(layers):
                first, last = first * s - p, last * s - p + k - 1
            got = answer(q, list(layers))
            expect(
                isinstance(got, (tuple, list)) and len(got) == 2,
                f"give back two integers, (first, last), not {got!r}",
            )
            shown = layers if len(layers) < 4 else f"ResNet18's {len(layers)} layers"
            for which, have, want in zip(("first", "last"), got, (first, last), strict=True):
                expect(
                    have == want,
                    f"the {which} pixel that position {q} sees through {shown} is {want}, not {have}",
                )
    return f"{len(networks)} networks, from one layer to ResNet18's 18 windows, two positions each"


@exercise("4.2")
def ex_4_2(answer: Any) -> str:
    """Eq. 14 and 15 for a batch."""
    psi = torch.randn(7, 3, dtype=torch.float64)  # batch×d
    W = torch.randn(3, 5, dtype=torch.float64)  # d×K
    b = 2 * torch.randn(5, dtype=torch.float64)
    W[:, 2] = b[2] = 0  # u = 0
    want = torch.where(psi @ W + b >= 0, 1.0, -1.0)
    got = answer(psi.clone(), W.clone(), b.clone())
    if isinstance(got, torch.Tensor) and got.shape == want.shape:
        expect(not (got == 0).any(), "a u of exactly 0 gives 0, which is no bit: it becomes +1 (Eq. 2)")
        expect(bool((got[:, 2] == 1).all()), "a u of exactly 0 becomes +1 (Eq. 2)")
        expect(bool((got.abs() == 1).all()), "some numbers are not ±1: where is Eq. 15?")
    expect_close(got, want, "the codes")
    return "7 images, d = 3, K = 5, one bit with u = 0: all 35 bits are right"


@exercise("4.3")
def ex_4_3(answer: Any) -> str:
    """Codes that do not depend on the batch."""
    model = HashNetwork("narrow-resnet", "none", bits=6, in_channels=1, width=4).double()
    x = torch.randn(10, 1, 12, 16, dtype=torch.float64) * torch.linspace(0.2, 3, 10).view(-1, 1, 1, 1)
    with torch.no_grad():
        model(x)  # the running averages are no longer those of a new network
        model.eval()
        model.hash_layer.bias.sub_(model(x).median(dim=0).values)  # every bit is alive
    want = model.codes(x)
    sizes: list[int] = []  # of the batches that the answer makes; a hook travels with a copy of the model
    model.hash_layer.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    state = copy.deepcopy(model.state_dict())
    for mode in (True, False):
        for batch_size in (4, 3, 10):
            model.train(mode)
            sizes.clear()
            got = answer(model, x.clone(), batch_size)
            arrived = "train()" if mode else "eval()"
            after = model.state_dict()
            same = all(torch.equal(after[name], state[name]) for name in state)
            expect(
                same, f"the model arrived in {arrived} and its running averages moved: was eval() forgotten?"
            )
            expect(
                model.training == mode,
                f"the model arrived in {arrived} and left in {'train()' if model.training else 'eval()'}",
            )
            expect(
                max(sizes, default=0) <= batch_size,
                f"{max(sizes, default=0)} images went through the model at once: batch_size is {batch_size}",
            )
            expect_close(got, want, f"the codes of 10 images in batches of {batch_size}")
    return "batches of 3, 4 and 10, both modes: the same codes, and the model is as it was"


@exercise("4.4")
def ex_4_4(answer: Any) -> str:
    """A convolution that contains its batch norm."""
    error = 0.0
    for stride, padding, kernel in ((1, 1, 3), (2, 0, 1), (2, 3, 7)):
        conv = nn.Conv2d(3, 5, kernel, stride=stride, padding=padding, bias=False).double()
        norm = nn.BatchNorm2d(5, eps=0.01).double().eval()
        for name, low in (("weight", 0.5), ("bias", -1.0), ("running_mean", -1.0), ("running_var", 0.2)):
            with torch.no_grad():
                norm.state_dict()[name].uniform_(low, low + 2)
        before = copy.deepcopy([conv.state_dict(), norm.state_dict()])
        x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
        with torch.no_grad():
            want = norm(conv(x))
        new = answer(conv, norm)
        expect(isinstance(new, nn.Conv2d), f"the answer gives back a {type(new).__name__}, not an nn.Conv2d")
        after = [conv.state_dict(), norm.state_dict()]
        kept = all(torch.equal(old[n], now[n]) for old, now in zip(before, after, strict=True) for n in old)
        expect(new is not conv and kept, "conv or norm was changed: make a new convolution")
        what = f"the output with k={kernel}, s={stride}, p={padding}"
        # in double, whatever the dtype of the answer: float32 is no mistake
        error = max(error, expect_close(new.double()(x), want, what, 1e-5))
    return f"three kernels, strides and paddings (largest difference {error:.1e})"
