"""Wrong answers to the exercises of Chapter 16."""

import torch


def numbers_first(line, classes):
    path, *labels = line.split()
    if len(labels) != classes:
        raise ValueError("labels")
    values = [int(float(x)) for x in labels]
    if not set(values) <= {0, 1} or 1 not in values:
        raise ValueError("labels")
    return path, values


def one_space(line, classes):
    path, *labels = line.rstrip("\n").split(" ")
    if len(labels) != classes or not set(labels) <= {"0", "1"} or "1" not in labels:
        raise ValueError("labels")
    return path, [int(x) for x in labels]


def from_the_right(line, classes):
    path, *labels = line.rsplit(maxsplit=classes)
    if not set(labels) <= {"0", "1"} or "1" not in labels:
        raise ValueError("labels")
    return path, [int(x) for x in labels]


def empty_allowed(line, classes):
    path, *labels = line.split()
    if len(labels) != classes or not set(labels) <= {"0", "1"}:
        raise ValueError("labels")
    return path, [int(x) for x in labels]


def no_count(line, classes):
    path, *labels = line.split()
    if not set(labels) <= {"0", "1"} or "1" not in labels:
        raise ValueError("labels")
    return path, [int(x) for x in labels]


def as_text(line, classes):
    path, *labels = line.split()
    if len(labels) != classes or not set(labels) <= {"0", "1"} or "1" not in labels:
        raise ValueError("labels")
    return path, labels


def unchecked(line, classes):
    path, *labels = line.split()
    return path, [int(x) for x in labels]


def need(count, side=lambda crop: round(crop * 256 / 224), per_pixel=3):
    """A number of bytes from a wrong count of images, a wrong side or wrong bytes for a pixel."""

    def cache_bytes(query, train, database, includes_train, crop):
        return count(query, train, database, includes_train) * per_pixel * side(crop) ** 2

    return cache_bytes


def right_count(query, train, database, includes_train):
    return query + database + (0 if includes_train else train)


def run(learn=3, encode=1, each_epoch=False, seconds=3600, shared=True):
    """Hours with another price for learning or encoding, or another unit."""

    def hours(train, encoded, epochs, forward, peak, share):
        work = train * epochs * learn + encoded * encode * (epochs if each_epoch else 1)
        return work * forward / (peak * (share if shared else 1)) / seconds

    return hours


def gradient(loss, us, labels, rank):
    parts = [u.detach().requires_grad_() for u in us]
    return torch.autograd.grad(loss(torch.cat(parts), torch.cat(labels)), parts)


def own_loss(loss, us, labels, rank):
    u = us[rank].detach().requires_grad_()
    return torch.autograd.grad(loss(u, labels[rank]), u)[0]


def own_first(loss, us, labels, rank):
    order = [rank, *(i for i in range(len(us)) if i != rank)]
    parts = [us[i].detach() for i in order]
    parts[0].requires_grad_()
    return torch.autograd.grad(loss(torch.cat(parts), torch.cat(labels)) * len(us), parts[0])[0]


def all_rows(loss, us, labels, rank):
    return torch.cat(gradient(loss, us, labels, rank)) * len(us)


WRONG = {
    "16.1": [
        ("turned into numbers first", numbers_first),
        ("split at each space", one_space),
        ("labels from the right, spaces in the path", from_the_right),
        ("an image without a label", empty_allowed),
        ("labels not counted", no_count),
        ("labels as text", as_text),
        ("nothing checked", unchecked),
    ],
    "16.2": [
        ("training images twice", need(lambda q, t, d, inside: q + t + d)),
        ("training images never", need(lambda q, t, d, inside: q + d)),
        ("queries forgotten", need(lambda q, t, d, inside: d + (0 if inside else t))),
        ("stored as cut", need(right_count, side=lambda crop: crop)),
        ("side not rounded", need(right_count, side=lambda crop: crop * 256 / 224)),
        ("always 256", need(right_count, side=lambda crop: 256)),
        ("one colour", need(right_count, per_pixel=1)),
        ("floats", need(right_count, per_pixel=12)),
    ],
    "16.3": [
        ("backward forgotten", run(learn=1)),
        ("backward as cheap as forward", run(learn=2)),
        ("encoding costs backward", run(encode=3)),
        ("encoding forgotten", run(encode=0)),
        ("encoded in each epoch", run(each_epoch=True)),
        ("seconds", run(seconds=1)),
        ("the peak itself", run(shared=False)),
    ],
    "16.4": [
        ("its own loss", own_loss),
        ("its own loss, weighted", lambda *a: own_loss(*a) * len(a[1])),
        ("not weighted", lambda loss, us, labels, rank: gradient(loss, us, labels, rank)[rank]),
        ("outputs in another order than labels", own_first),
        ("rank 0's rows", lambda loss, us, labels, rank: gradient(loss, us, labels, rank)[0] * len(us)),
        ("all rows", all_rows),
        (
            "divided once more",
            lambda loss, us, labels, rank: gradient(loss, us, labels, rank)[rank] / len(us),
        ),
    ],
}
