"""The measure of the prose: what is a sentence, what is a word, and what is no text at all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import notebooks  # noqa: E402
import prose  # noqa: E402


@pytest.mark.parametrize(
    ("source", "lengths"),
    [
        ("One two three. Four five!\nSix seven?", [3, 2, 2]),
        ("It ends (in a bracket.) And *so.* does this.", [5, 2, 2]),
        ("See Eq. 3 of Fu et al. and e.g. Fig. 2, at 0.5 of it.", [15]),
        ("# A heading\n\nText of five words here.\n\n| a. | b. |\n|---|---|\n| c. | d. |", [5]),
        ("```python\nx = 1. # no. text.\n```\n\nThe `code.of(x)` is one word.", [5]),
        ("With $a + b. c$ and [a link](https://x.y/z. And on).", [5]),
        ("Then we have\n\n$$a = b.$$\n\nThe rest follows.", [4, 3]),
        ("Then $$a = b$$ The rest follows.", [2, 3]),
        ("Then $$a = b,$$ and the rest follows.", [6]),
        ("\\begin{equation*}\na = b \\tag{3}\n\\end{equation*}", []),
        ("Three things:\n\n- a fragment\n- One whole sentence here.\n- half; of one", [2, 4]),
        ("<details><summary>Hint 1</summary>\n\nAdd the two.\n\n</details>", [3]),
        ("difficulty ●●○○○ · importance ●●●●○ · 10 min\n\nWrite it down.", [3]),
        ("**1.** What sums to one? (a) Each row. (b) Each column. (c) Both.", [4]),
        ("(b). The softmax runs down. (a) Too small an effect. (c) is wrong, too.", [4, 4, 4]),
        ("A comment <!-- typed: 0.5: it. is. said. --> does not count.", [5]),
        ("⟨", []),
    ],
)
def test_sentences_and_their_words(source, lengths):
    assert [prose.words(s) for s in prose.sentences(source)] == lengths


def test_mean_and_share_of_short_ones():
    assert prose.measure([8, 9, 16, 3]) == (9.0, 0.5)


def test_every_chapter_gets_a_line(capsys):
    house = notebooks.House.at(ROOT)
    paths = house.notebooks()
    assert prose.main([str(path) for path in paths[:2]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["chapter", *(path.stem for path in paths[:2])]
    counted = prose.chapter_sentences(notebooks.Chapter.read(paths[0], house))
    mean, short = prose.measure(prose.words(s) for s in counted)
    assert lines[1].split()[1:] == [str(len(counted)), f"{mean:.1f}", f"{short:.0%}"]
    assert prose.main(["no-such.ipynb"]) == 2


def test_references_and_tables_are_no_prose():
    house = notebooks.House.at(ROOT)
    [path] = [p for p in house.notebooks() if p.name.startswith("07_")]
    counted = " ".join(prose.chapter_sentences(notebooks.Chapter.read(path, house)))
    assert "CVPR" not in counted
    assert "Time to read" not in counted
    assert "Colab" not in counted.replace("JupyterLab and on Colab", "")
