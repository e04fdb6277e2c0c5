"""Make a chapter that keeps every rule, for its author to fill: `make new-chapter NUMBER=20 TITLE="…"`.

    python tools/new_chapter.py NUMBER TITLE

It writes the notebook, the checks of its exercises, wrong answers that these must reject, and a line in
_toc.yml; then it runs the notebook, whose first cell shows the time. Its subject is an example: replace it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]

# Cells are divided by lines of %%, with the kind and the tags behind them; N is the chapter's number.
CHAPTER = """\
%% text
# N · TITLE

By the end you will have counted the bits in which two codes agree, and found the codes nearest to one.

| At a glance | |
|---|---|
| **You will be able to** | compare codes of ±1 without a loop |
| **Before you start** | Chapter 1 |
| **Paper** | §3.1 |
| **Time to read** | 10 minutes |
%% text
## Where we are

Replace each section by your own. This one says which block of the system the chapter is about.
%% code
import torch

from dhida_lib import checks, metrics, plots

plots.where_we_are()
%% text
## The question

Two codes are given. In how many bits do they agree?
%% text
## The paper says

§3.1 compares two codes by their inner product. For codes of $K$ bits with the Hamming distance $h$,

$$\\langle b, c \\rangle = K - 2h.$$
%% text
## By hand

Eight bits are few enough to look at each.
%% code
b = torch.tensor([1.0, 1, -1, -1, 1, -1, 1, 1])
c = torch.tensor([1.0, -1, -1, -1, 1, 1, 1, 1])
equal = sum(bool(x == y) for x, y in zip(b, c, strict=True))
print(f"{equal} of {len(b)} bits agree")
%% text
## Without a loop

A product of two bits is 1 where they agree and −1 where they differ.
%% code
def differing(one, other):
    \"\"\"The Hamming distance of two codes of ±1 (K).\"\"\"
    return (len(one) - one @ other) / 2


assert differing(b, c) == len(b) - equal, "both ways count the same bits"
%% text
## The library's version
%% code
library = metrics.hamming_distance(b[None], c[None])[0, 0]
torch.testing.assert_close(differing(b, c), library, check_dtype=False)
%% text
## Break it

What does the formula give for codes of 0 and 1 instead of ±1? Guess before you run the cell.
%% code
zero_one = differing((b + 1) / 2, (c + 1) / 2)
print(f"{zero_one:.1f} differing bits, but {len(b) - equal} differ")
%% text
## Exercises
%% text
### Exercise N.1 · The share that agrees

difficulty ●○○○○ · importance ●●●○○ · 5 min

Write `agreement(b, c)`: the share of equal bits of two codes of ±1 (K), a number from 0 to 1.
%% code exercise
def agreement(b, c):
    raise NotImplementedError("yours to write")
%% code
checks.check("N.1", agreement)
%% text
<details><summary>Hint 1</summary>

A comparison of two tensors gives True where they are equal.

</details>

<details><summary>Hint 2</summary>

The mean of zeros and ones is the share of the ones.

</details>
%% code solution
# @title Solution N.1
def agreement_solution(b, c):
    return float((b == c).float().mean())


checks.check("N.1", agreement_solution, strict=True)
%% text
### Exercise N.2 · All distances at once

difficulty ●●○○○ · importance ●●●●○ · 10 min

Write `distances(query, codes)`: the numbers of bits (n) in which a code (K) differs from each of many (n×K).
%% code exercise
def distances(query, codes):
    raise NotImplementedError("yours to write")
%% code
checks.check("N.2", distances)
%% text
<details><summary>Hint 1</summary>

A matrix times the query gives all inner products.

</details>

<details><summary>Hint 2</summary>

Solve the equation above for $h$.

</details>
%% code solution
# @title Solution N.2
def distances_solution(query, codes):
    return (len(query) - codes @ query) / 2


checks.check("N.2", distances_solution, strict=True)
%% text
### Exercise N.3 · The nearest codes

difficulty ●●○○○ · importance ●●●●○ · 10 min

Write `nearest(query, codes, k)`: the positions of the `k` nearest codes, the nearest first, as a list. Of two
that are equally near, the one that stands first comes first.
%% code exercise
def nearest(query, codes, k):
    raise NotImplementedError("yours to write")
%% code
checks.check("N.3", nearest)
%% text
<details><summary>Hint 1</summary>

`argsort` gives positions instead of values.

</details>

<details><summary>Hint 2</summary>

It keeps the order of equal values only with `stable=True`.

</details>
%% code solution
# @title Solution N.3
def nearest_solution(query, codes, k):
    return torch.argsort(-(codes @ query), stable=True)[:k].tolist()


checks.check("N.3", nearest_solution, strict=True)
%% text
## Check yourself

1. Why is the inner product of two codes of an even length always even?

<details><summary>Answer</summary>

It is the length minus twice the distance.

</details>

2. Two codes have the inner product 0. What is their distance?

<details><summary>Answer</summary>

Half of the length.

</details>

3. What is the distance of a code from its negative?

<details><summary>Answer</summary>

The whole length: every bit differs.

</details>
%% text
## Take-away

- The inner product of codes counts the bits that agree, less those that differ.
%% text
## Differences from the paper

None.
%% text
## References and next

See [References](references.md).
"""

CHECKS = '''\
"""Checks of Chapter N's exercises: TITLE."""

from __future__ import annotations

from typing import Any

import torch

from dhida_lib.book.checks import exercise, expect, expect_close


@exercise("N.1")
def ex_N_1(answer: Any) -> str:
    """The share of equal bits."""
    for bits, flipped in ((4, 1), (16, 5), (33, 30)):
        b = torch.randint(2, (bits,)) * 2.0 - 1
        c = torch.where(torch.arange(bits) < flipped, -b, b)
        got, right = float(answer(b, c)), 1 - flipped / bits
        what = f"{bits} bits, of which {flipped} differ"
        expect(abs(got - flipped / bits) > 1e-6, f"{what}: this is the share of those that differ")
        expect(abs(got - bits * right) > 1e-6, f"{what}: this is a number of bits, not a share")
        expect(abs(got - (2 * right - 1)) > 1e-6, f"{what}: the mean product lies between -1 and 1")
        expect_close(got, right, what)
    return "three pairs of codes"


@exercise("N.2")
def ex_N_2(answer: Any) -> str:
    """The distances of many codes."""
    query, codes = (torch.randint(2, shape) * 2.0 - 1 for shape in ((15,), (20, 15)))
    right = (codes != query).sum(1).float()
    got = torch.as_tensor(answer(query, codes)).float()
    expect(got.shape == right.shape, f"20 codes need 20 distances, not a shape of {tuple(got.shape)}")
    expect(not torch.equal(got, 15 - right), "these are the bits that agree")
    expect(not torch.equal(got, 2 * right), "twice too many: each differing bit changes the product by 2")
    expect_close(got, right, "the distances")
    return "20 codes of 15 bits"


@exercise("N.3")
def ex_N_3(answer: Any) -> str:
    """The nearest codes."""
    query, codes = (torch.randint(2, shape) * 2.0 - 1 for shape in ((8,), (200, 8)))
    h = (codes != query).sum(1).tolist()
    right = sorted(range(200), key=h.__getitem__)[:60]
    got = [int(i) for i in answer(query, codes, 60)]
    expect(len(got) == 60, f"60 were asked for, and {len(got)} came")
    expect([i - 1 for i in got] != right, "positions count from 0")
    expect(h[got[0]] == min(h), "the nearest should come first")
    expect(got == right, "of two that are equally near, the one that stands first comes first")
    return "60 of 200 codes, with ties"
'''

CASES = '''\
"""Wrong answers to the exercises of Chapter N."""

import torch


def nearest(query, codes, k):
    return torch.argsort(-(codes @ query), stable=True)[:k].tolist()


WRONG = {
    "N.1": [
        ("those that differ", lambda b, c: (b != c).float().mean(), "the share of those that differ"),
        ("a number", lambda b, c: (b == c).sum(), "a number of bits, not a share"),
        ("the mean product", lambda b, c: (b * c).mean(), "the mean product lies between"),
    ],
    "N.2": [
        ("those that agree", lambda q, d: (d == q).sum(1), "the bits that agree"),
        ("not halved", lambda q, d: len(q) - d @ q, "twice too many"),
        ("one number", lambda q, d: (d != q).sum(), "20 codes need 20 distances"),
    ],
    "N.3": [
        ("the farthest", lambda q, d, k: nearest(-q, d, k), "the nearest should come first"),
        ("from 1", lambda q, d, k: [i + 1 for i in nearest(q, d, k)], "positions count from 0"),
        ("all", lambda q, d, k: nearest(q, d, len(d)), "60 were asked for"),
        (
            "ties from the end",
            lambda q, d, k: [len(d) - 1 - i for i in nearest(q, d.flip(0), k)],
            "the one that stands first comes first",
        ),
    ],
}
'''


def notebook(text: str) -> nbformat.NotebookNode:
    """The notebook that a text with its cells divided by %% describes."""
    cells = []
    for head, source in re.findall(r"^%% ([^\n]+)\n(.*?)(?=^%% |\Z)", text, re.M | re.S):
        kind, *tags = head.split()
        make = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
        cells.append(make(source.strip("\n"), metadata={"tags": tags} if tags else {}))
    return nbformat.v4.new_notebook(cells=cells)


def with_line(toc: str, number: int, name: str) -> str:
    """The table of contents with the chapter behind the last one of a smaller number."""
    lines = toc.splitlines()
    listed = [(i, re.match(r"\s*- file: book/(\d\d)_", line)) for i, line in enumerate(lines)]
    before = [i for i, found in listed if found and int(found[1]) < number]
    lines.insert(before[-1] + 1, f"      - file: book/{name}")
    return "\n".join(lines) + "\n"


def new_chapter(number: int, title: str, root: Path = ROOT) -> Path:
    """Write a chapter's files; none that is there is touched.

    Args:
        number: its number, 2 to 99.
        title: its title; the notebook's name is made of it.
        root: the project.

    Returns:
        The notebook.

    Raises:
        ValueError: if the number is taken, or the title has no letter.
    """
    slug = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
    if not 2 <= number <= 99 or not slug:
        raise ValueError(f"a number from 2 to 99 and a title with letters are needed, not {number} {title!r}")
    if taken := list((root / "book").glob(f"{number:02d}_*.ipynb")):
        raise ValueError(f"Chapter {number} is there: {taken[0].name}")
    path = root / "book" / f"{number:02d}_{slug}.ipynb"

    def fill(text: str) -> str:
        return re.sub(r"(?<![a-zA-Z])N(?![a-zA-Z])", str(number), text).replace("TITLE", title)

    nbformat.write(notebook(fill(CHAPTER)), path)
    checks = root / "dhida_lib" / "book" / "exercises" / f"ch{number:02d}.py"
    checks.write_text(fill(CHECKS), encoding="utf-8")
    cases = root / "tests" / "exercise_cases" / f"ch{number:02d}.py"
    cases.write_text(fill(CASES), encoding="utf-8")
    toc = root / "_toc.yml"
    toc.write_text(with_line(toc.read_text(encoding="utf-8"), number, path.stem), encoding="utf-8")
    print("\n".join(f"wrote {p.relative_to(root)}" for p in (path, checks, cases, toc)), flush=True)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("number", type=int)
    parser.add_argument("title")
    arguments = parser.parse_args()
    try:
        path = new_chapter(arguments.number, arguments.title)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    tool = [sys.executable, str(ROOT / "tools" / "notebooks")]
    for command in ("sync", "time"):
        subprocess.run([*tool, command, str(path)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
