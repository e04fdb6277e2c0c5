"""Checks of Chapter 16's exercises: lists, disk, hours, ranks."""

from __future__ import annotations

from typing import Any

import torch

from dhida_lib.book.checks import Wrong, exercise, expect, expect_close
from dhida_lib.losses import DHIDALoss


@exercise("16.1")
def ex_16_1(answer: Any) -> str:
    """One line of a list file."""
    good = [
        ("images/0571_2.jpg 1 0 1\n", 3, "images/0571_2.jpg", [1, 0, 1]),
        ("a.png  0   1", 2, "a.png", [0, 1]),
        ("x/y/z.jpeg 0 0 0 0 1", 5, "x/y/z.jpeg", [0, 0, 0, 0, 1]),
    ]
    for line, classes, path, labels in good:
        try:
            got = answer(line, classes)
        except ValueError as error:
            raise Wrong(
                f"{line!r} with {classes} classes is a good line, but was refused: {error}"
            ) from error
        expect(
            isinstance(got, tuple) and len(got) == 2, f"give back two things, path and labels; not {got!r}"
        )
        expect(got[0] == path, f"the path of {line!r} is {path!r}, not {got[0]!r}")
        expect(
            list(got[1]) == labels and all(isinstance(x, int) for x in got[1]),
            f"the labels of {line!r} are the integers {labels}, not {got[1]!r}",
        )
    bad = [
        ("a.jpg 1 0", 3, "a label is missing"),
        ("a.jpg 1 0 0 1", 3, "there is a label too many"),
        ("a.jpg 1 2 0", 3, "a label is 2"),
        ("a.jpg 1 -1 0", 3, "a label is −1"),
        ("a.jpg 1 x 0", 3, "a label is no number"),
        ("a dog.jpg 1 0 1", 3, "the path has a space, so `dog.jpg` stands where a label belongs"),
        ("a.jpg 0 0 0", 3, "no label is 1"),
        ("a.jpg 1.0 0 0", 3, "a label is 1.0, not 1"),
        ("a.jpg 01 0 1", 3, "a label is 01"),
    ]
    for line, classes, what in bad:
        try:
            answer(line, classes)
        except ValueError:
            continue
        raise Wrong(f"{line!r} with {classes} classes must raise ValueError: {what}")
    return "three good lines, nine bad ones"


@exercise("16.2")
def ex_16_2(answer: Any) -> str:
    """Bytes of the file of resized images."""
    cases = [
        (5000, 13000, 128503, True, 224, "training images inside the database, cut 224"),
        (1000, 5000, 54000, False, 224, "training images outside the database, cut 224"),
        (10, 50, 70, True, 32, "cut 32, stored at 37"),
        (7, 20, 31, False, 100, "cut 100, stored at 114"),
    ]
    for query, train, database, inside, crop, what in cases:
        images = query + database + (0 if inside else train)
        want = images * 3 * round(crop * 256 / 224) ** 2
        got = answer(query, train, database, inside, crop)
        expect(isinstance(got, (int, float)), f"give back a number of bytes, not {got!r}")
        expect(got == want, f"{what}: {got:,} bytes, but {want:,} are right ({images:,} different images)")
    return "four sets, inside and outside, three sizes"


@exercise("16.3")
def ex_16_3(answer: Any) -> str:
    """Hours of one run."""
    cases = [
        (5000, 0, 150, 3.6e9, 8.1e12, 0.5, "nothing to encode"),
        (0, 59000, 150, 3.6e9, 8.1e12, 0.25, "nothing to train"),
        (13000, 133503, 100, 3.6e9, 65e12, 0.3, "both"),
    ]
    for train, encoded, epochs, forward, peak, share, what in cases:
        want = (train * epochs * 3 + encoded) * forward / (peak * share) / 3600
        expect_close(answer(train, encoded, epochs, forward, peak, share), want, f"hours ({what})")
    return "training, encoding, and both"


@exercise("16.4")
def ex_16_4(answer: Any) -> str:
    """The gradient that one rank contributes."""
    make = torch.Generator().manual_seed(164)
    for sizes in [(4, 3), (2, 5, 3)]:
        us = [torch.randn(n, 6, generator=make, dtype=torch.float64) for n in sizes]
        labels = [torch.randint(0, 3, (n,), generator=make) for n in sizes]
        loss = DHIDALoss(6, balance="bit")
        whole = torch.cat(us).requires_grad_()
        (gradient,) = torch.autograd.grad(loss(whole, torch.cat(labels)), whole)
        for rank, want in enumerate(gradient.split(sizes)):
            got = answer(loss, [u.clone() for u in us], [y.clone() for y in labels], rank)
            what = f"the gradient of rank {rank} of {len(sizes)}"
            want = want * len(sizes)
            if isinstance(got, torch.Tensor) and got.shape == want.shape:
                expect(
                    not torch.allclose(got * len(sizes), want, atol=1e-9),
                    f"{what} is {len(sizes)} times too small: DDP takes the mean over the ranks",
                )
            expect_close(got, want, what, tolerance=1e-7)
    return "two ranks and three, unequal shares"
