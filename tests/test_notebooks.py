"""The rules for chapters: each fires on a chapter made to break it, and the real chapters keep them all."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell as code
from nbformat.v4 import new_markdown_cell as text
from nbformat.v4 import new_output

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import build_book  # noqa: E402
import notebooks  # noqa: E402

NAME = "07_a_chapter.ipynb"
GLANCE = """\
| At a glance | |
|---|---|
| **You will be able to** | double a number |
| **Before you start** | Chapter 6 |
| **Paper** | Eq. 3 |
| **Time to read** | 5 minutes |"""
HINTS = """\
<details><summary>Hint 1</summary>

Two times $x$.

</details>

<details><summary>Hint 2</summary>

Add.

</details>"""


def exercise(m: int) -> list:
    number = f"7.{m}"
    return [
        text(f"### Exercise {number} · Double it\n\ndifficulty ●●○○○ · importance ●●●●○ · 10 min\n\nDouble."),
        code(f"def double_{m}(x):\n    raise NotImplementedError", metadata={"tags": ["exercise"]}),
        code(f'checks.check("{number}", double_{m})'),
        text(HINTS),
        code(
            f"# @title Solution {number}\ndef right_{m}(x):\n    return 2 * x\n\n\n"
            f'checks.check("{number}", right_{m}, strict=True)',
            metadata={"tags": ["solution"]},
        ),
    ]


def chapter() -> nbformat.NotebookNode:
    """A small chapter that keeps every rule once it is synced."""
    answers = "\n\n".join("Why?\n\n<details><summary>Answer</summary>\n\nSo.\n\n</details>" for _ in range(3))
    cells = [
        text(f"# 7 · Doubling\n\nBy the end you will have doubled a number.\n\n{GLANCE}"),
        text("## Where we are"),
        code('from dhida_lib import checks, plots\n\nplots.where_we_are("ida")'),
        text("## The question"),
        text("## The paper says\n\n\\begin{equation*}\ny = 2x \\tag{3}\n\\end{equation*}"),
        text("## By hand"),
        code('assert 1 + 1 == 2, "one and one is two"'),
        text("## Build it\n\nSee `{eq}` in [this chapter](07_a_chapter.ipynb) and $a<b>c$."),
        code(
            "# @title Figure: a line\nfig, ax = plt.subplots()\n"
            'plots.show(fig, alt="A line that rises from one to two.")',
            metadata={"tags": ["folded"]},
        ),
        text("## The library's version"),
        code("torch.testing.assert_close(y, z)"),
        text("## Break it"),
        text("## Exercises"),
        *(cell for m in (1, 2, 3) for cell in exercise(m)),
        text(f"## Check yourself\n\n{answers}"),
        text("## Take-away"),
        text("## Differences from the paper"),
        text("## References and next"),
    ]
    return nbformat.v4.new_notebook(cells=cells)


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A house with one synced chapter that keeps every rule, and no chapter that is let off one."""
    monkeypatch.setattr(notebooks.rules.figures, "OPEN_FIGURES", set())
    (tmp_path / "book").mkdir()
    runtimes = {NAME: {"seconds": 12.3, "machine": "2 CPU cores", "date": "2026-01-02"}}
    made = notebooks.House(tmp_path, "https://github.com/SOME/where", "main", runtimes)
    nbformat.write(chapter(), made.book / NAME)
    notebooks.sync([made.book / NAME], made)
    return made


def cell_of(nb, part: str):
    return next(cell for cell in nb.cells if part in cell.source)


def put(part: str, new: str) -> Callable:
    """A mutation: replace text wherever it stands."""

    def mutate(nb):
        assert any(part in cell.source for cell in nb.cells), part
        for cell in nb.cells:
            cell.source = cell.source.replace(part, new)

    return mutate


def add(cell) -> Callable:
    """A mutation: one more cell in `Build it`."""

    def mutate(nb):
        where = next(i for i, c in enumerate(nb.cells) if c.source.startswith("## The library's version"))
        nb.cells.insert(where, copy.deepcopy(cell))

    return mutate


def drop(part: str) -> Callable:
    def mutate(nb):
        nb.cells.remove(cell_of(nb, part))

    return mutate


def tagged(tag: str) -> Callable:
    return add(code("x = 1", metadata={"tags": [tag]}))


def last_section(nb):
    nb.cells.append(text("## One more thing"))


def out_of_order(nb):
    nb.cells.append(nb.cells.pop(nb.cells.index(cell_of(nb, "## Where we are"))))


def repeat_exercise_number(nb):
    cell_of(nb, "### Exercise 7.2").source = cell_of(nb, "### Exercise 7.1").source


BREAKS = {
    "empty-cell": [add(text("  ")), add(code(""))],
    "syntax": [add(code("x ="))],
    "no-shell": [
        add(code("!ls")),
        add(code("%pip install x")),
        add(code("if x:\n    get_ipython().system('ls')")),
    ],
    "long-cell": [add(code("\n".join(f"x{i} = {i}" for i in range(26))))],
    "run-again": [
        lambda nb: nb.cells.extend([code("x = 1"), code("y = x"), code("x = 2")]),
        lambda nb: nb.cells.extend([code("x = 1"), code("y = x"), code("for x in y:\n    pass")]),
        lambda nb: nb.cells.extend([code("x = 1"), code("y = f'{x}'"), code("def x():\n    pass")]),
        lambda nb: nb.cells.extend([code("x = 1"), code("def f():\n    return [x]"), code("x = 2")]),
        lambda nb: nb.cells.extend([code("x = 1\n\n\ndef f():\n    return x"), code("x = 2")]),
        lambda nb: nb.cells.extend([code("x = 1"), code("class A:\n    y = x"), code("x = 2")]),
        lambda nb: nb.cells.extend([code("x = 1"), code("x = x + 1")]),
        lambda nb: nb.cells.extend([code("x = 1"), code("x += 1")]),
        lambda nb: nb.cells.extend([code("x = 1"), code("print(x)\ndel x")]),
    ],
    "setup-cell": [
        put("dhida_lib.start()", 'dhida_lib.start("full")'),
        add(code("y = profile")),
        drop("# @title Setup"),
        lambda nb: nb.cells.insert(0, code("x = 1")),
        tagged("setup"),
    ],
    "folded-title": [
        add(code("x = 1", metadata={"tags": ["folded"]})),
        put("# @title Figure: a line", "# A line"),
    ],
    "folded-figures": [
        add(code('fig = plots.curve(x)\nplots.show(fig, alt="A line that rises from one to two.")')),
        add(code("widgets.frame_slider(frames, labels, alts, title)")),
    ],
    "tags": [
        tagged("raises-exception"),
        tagged("nbval-skip"),
        tagged("skip-execution"),
        tagged("remove-cell"),
        add(code("# NBVAL_SKIP\nx = 1")),
    ],
    "metadata": [
        lambda nb: nb.metadata.update(colab={"provenance": []}),
        lambda nb: nb.cells[3].metadata.update(id="abc"),
    ],
    "kept-output": [
        tagged("keep_output"),
        add(code("x", metadata={"tags": ["keep_output"]}, outputs=[new_output("stream", text="1")])),
    ],
    "assert-message": [add(code("assert x == 1")), put(', "one and one is two"', "")],
    "private-names": [
        add(code("from dhida_lib._validate import bad")),
        add(code("from dhida_lib.book.plots import _block")),
        add(code("import dhida_lib._validate")),
        add(code("x = plots._block")),
        add(code("import dhida_lib\nx = dhida_lib.book.checks._checks")),
        add(code("import dhida_lib.book.plots as p\nx = p._block")),
    ],
    "figures": [
        add(code("plt.plot([1])\nplt.show()")),
        add(code("fig, ax = plt.subplots()")),
        add(code("plots.heatmap(x)")),
        add(code("fig = plots.curve(x)\nplots.show(fig)")),
        add(code('fig = plots.curve(x)\nplots.show(fig, alt="short")')),
        add(code('fig = plots.curve(x)\nplots.show(fig, "short")')),
    ],
    "markdown-images": [add(text("![a cat](cat.png)")), add(text('<img src="cat.png" alt="cat">'))],
    "portable-markdown": [
        add(text("```{note}\nx\n```")),
        add(text(":::{note}\nx\n:::")),
        add(text("as {eq}`eq-1` says")),
        add(text("(a-label)=\n\nText")),
        add(text("$$x$$ (eq-1)")),
        add(text("so[^1]")),
        add(text(r"$\eqref{a}$")),
        add(text("<div>x</div>")),
        add(text("> ```{note}\n> x\n> ```")),
        add(text("> :::{note}\n> x\n> :::")),
        add(text("as {eq}``eq-1`` says")),
        add(text("% a comment")),
        add(text("one\n\n+++\n\ntwo")),
        add(text("Term\n: what it means")),
        add(text("- [ ] do it")),
        add(text("see [](07_a_chapter.ipynb)")),
        add(text("the value {{ x }}")),
        add(text("a [word]{.red}")),
        add(text("{#here}\n# Heading")),
        add(text("~~gone~~")),
        add(text(r"so \\(x\\) holds")),
        add(text('<sub style="color: red">x</sub>')),
        add(text('<details class="tip"><summary>x</summary>\n\ny\n\n</details>')),
        add(text("see <project:#x>")),
        add(text("| a | b |\n|---|---|\n| $|u|$ | 1 |")),
        add(code("from myst_nb import glue\n\nglue('x', 1)")),
    ],
    "typed-number": [
        add(text("The mAP is 0.731.")),
        add(text("## Result\n\nIt found 73 % of them.")),
        add(text("| model | mAP |\n|---|---|\n| ours | 0.731 |")),
        add(text("The mAP is 0.731.\n\n<!-- typed: 0.73: made up -->")),
        add(text("The paper says so. Ours is 0.731.")),
    ],
    "equations": [
        add(text("\\begin{equation}\nx\n\\end{equation}")),
        add(text("\\begin{align*}\nx\n\\end{align*}")),
        add(text("$$x \\tag{1}$$")),
        add(text("\\begin{equation*}\nx")),
        add(text("\\begin{alignat}{2}\nx\n\\end{alignat}")),
        add(text("\\begin{displaymath}\nx\n\\end{displaymath}")),
    ],
    "links": [
        add(text("see [there](99_not_there.ipynb)")),
        add(text("see [there](07_a_chaptr.ipynb#x)")),
        add(text("see [below](#build-it)")),
        add(text("see [x](project:y)")),
    ],
    "opening": [
        put("# 7 · Doubling", "# 6 · Doubling"),
        put("SOME/where/blob", "OTHER/where/blob"),
        put("By the end you will have doubled a number.", ""),
        put("| **Before you start** | Chapter 6 |\n", ""),
        add(text("# Another title")),
        lambda nb: nb.cells.insert(0, code("x = 1")),
    ],
    "template": [
        drop("## Take-away"),
        drop("## The paper says"),
        put("## Build it\n\n", ""),
        last_section,
        out_of_order,
        add(text("## By hand")),
    ],
    "parity": [put("torch.testing.assert_close(y, z)", "print(y - z)")],
    "exercises": [
        put("### Exercise 7.3 · Double it", "Some more text."),
        repeat_exercise_number,
        put("importance ●●●●○ · 10 min", "importance high"),
        put("<details><summary>Hint 2</summary>\n\nAdd.\n\n</details>", ""),
        drop("def double_2"),
        put("# @title Solution 7.2", "# Solution 7.2"),
        put(', strict=True)', ")"),
        put('checks.check("7.1", double_1)', 'checks.check("7.2", double_1)'),
        drop('checks.check("7.1", double_1)'),
    ],
    "questions": [put("Why?\n\n<details><summary>Answer</summary>\n\nSo.\n\n</details>", "Why?")],
    "details": [
        put("Add.\n\n</details>", "Add."),
        put("<summary>Hint 2</summary>\n\n", "<summary>Hint 2</summary>\n"),
    ],
}  # fmt: skip


def findings(house) -> dict[str, list[str]]:
    """Rule → what it found."""
    found: dict[str, list[str]] = {}
    for line in notebooks.check(house.notebooks(), house):
        found.setdefault(line.split("[")[1].split("]")[0], []).append(line)
    return found


def test_good_chapter_breaks_no_rule(house):
    assert notebooks.check(house.notebooks(), house) == []


@pytest.mark.parametrize(
    ("rule", "mutate"),
    [pytest.param(r, m, id=f"{r}-{i}") for r, ms in BREAKS.items() for i, m in enumerate(ms)],
)
def test_rule_fires(house, rule, mutate):
    path = house.book / NAME
    nb = nbformat.read(path, as_version=4)
    mutate(nb)
    path.write_text(json.dumps(nb), encoding="utf-8")
    assert rule in findings(house)


def test_open_figures_are_let_pass_in_chapters_not_revised_yet(house, monkeypatch):
    path = house.book / NAME
    nb = nbformat.read(path, as_version=4)
    add(code('fig = plots.curve(x)\nplots.show(fig, alt="A line that rises from one to two.")'))(nb)
    path.write_text(json.dumps(nb), encoding="utf-8")
    assert "folded-figures" in findings(house)
    monkeypatch.setattr(notebooks.rules.figures, "OPEN_FIGURES", {7})
    assert "folded-figures" not in findings(house)


PORTABLE = """\
A list:

- one, with `{eq}` and `{{x}}` and ~5 items
- $\\sum_{i} \\{x_{.5}\\}$, `a ~~b~~`, **bold** and *italic*

> **Note.** A quote with $\\lvert u \\rvert$ and [a link](https://example.org/a#b).

| a | b |
|---|---|
| $x$ | $y$ |
| `x` | $\\{\\{a\\}\\}$, a<sub>1</sub> |

```python
% not text
x = {{1}}
```

$$
\\begin{cases} 1 \\\\[2pt] 2 \\end{cases}
$$

<details><summary>More</summary>

Two: three.

</details>"""


def test_the_portable_subset_is_allowed(house):
    nb = nbformat.read(house.book / NAME, as_version=4)
    add(text(PORTABLE))(nb)
    nbformat.write(nb, house.book / NAME)
    notebooks.sync(house.notebooks(), house)
    assert notebooks.check(house.notebooks(), house) == []


NUMBERS = """\
## What 0.731 means

See §3.1–3.4, Section 4.2, Exercise 7.2 and [arXiv 1609.06753](https://example.org/0.731). The paper has
0.8213, a gain of 4.0 points. With the rate 0.05, half of it is 50 %, and $x = 0.731$ or `0.731` is no prose.

If a model had 0.62, what then?

<!-- typed: 0.62: made up for the question -->"""


def test_numbers_from_code_and_from_the_paper_are_allowed(house):
    nb = nbformat.read(house.book / NAME, as_version=4)
    add(code("rate = 0.05\nhalf = 0.5"))(nb)
    add(text(NUMBERS))(nb)
    nbformat.write(nb, house.book / NAME)
    notebooks.sync(house.notebooks(), house)
    assert notebooks.check(house.notebooks(), house) == []


def test_every_rule_has_a_breaking_chapter():
    assert set(BREAKS) | {"name", "synced", "run-time"} == set(notebooks.RULES)


def test_name(house):
    (house.book / NAME).rename(house.book / "Chapter 7.ipynb")
    assert "name" in findings(house)


def test_unmeasured_run_time(house):
    house.runtimes = {}
    assert "run-time" in findings(house)


def test_unreadable_notebook(house):
    (house.book / NAME).write_text("{ no json")
    assert "unreadable" in findings(house)


def test_cell_ids_are_unique_over_the_book(house):
    nb = nbformat.read(house.book / NAME, as_version=4)
    nbformat.write(nb, house.book / "08_other.ipynb")
    assert "cell-ids" in findings(house)
    notebooks.sync(house.notebooks(), house)
    assert "cell-ids" not in findings(house)


def test_paper_says_may_be_missing_where_the_paper_says_nothing(house):
    nb = nbformat.read(house.book / NAME, as_version=4)
    nb.cells.remove(cell_of(nb, "## The paper says"))
    nbformat.write(nb, house.book / "03_ranking.ipynb")
    missing = [line for line in findings(house).get("template", []) if "The paper says" in line]
    assert missing == []


def test_kept_text_output_is_allowed(house):
    nb = nbformat.read(house.book / NAME, as_version=4)
    kept = code("print(1)", metadata={"tags": ["keep_output"]}, execution_count=3)
    kept.outputs = [new_output("stream", text="1\n")]
    add(kept)(nb)
    nbformat.write(nb, house.book / NAME)
    notebooks.sync(house.notebooks(), house)
    assert notebooks.check(house.notebooks(), house) == []
    nb = nbformat.read(house.book / NAME, as_version=4)
    assert cell_of(nb, "print(1)").execution_count == 3


def test_figures_made_in_functions_or_shown_by_a_slider_are_allowed(house):
    nb = nbformat.read(house.book / NAME, as_version=4)
    add(code("def draw(k):\n    fig, ax = plt.subplots()\n    return fig"))(nb)
    for source in (
        "frames = [plots.heatmap(x)]\nwidgets.frame_slider(frames, labels, alts, 'k')",
        "fig, ax = plt.subplots()\nplots.show(fig, alt=words)",
    ):
        add(code(f"# @title Figure\n{source}", metadata={"tags": ["folded"]}))(nb)
    nbformat.write(nb, house.book / NAME)
    notebooks.sync(house.notebooks(), house)
    assert notebooks.check(house.notebooks(), house) == []


# ---- sync ----------------------------------------------------------------------------------------------


def test_sync_is_stable_and_seen_by_check(house):
    path = house.book / NAME
    assert notebooks.sync([path], house) == []
    nb = nbformat.read(path, as_version=4)
    ran = next(c for c in nb.cells if c.cell_type == "code")
    ran.update(outputs=[new_output("stream", text="x")], execution_count=1)
    nb.metadata["colab"] = {}
    nb.cells[1].source += "\n\n"
    nbformat.write(nb, path)
    assert "synced" in findings(house)
    assert notebooks.sync([path], house) == [path]
    assert notebooks.check([path], house) == []


def test_sync_keeps_ids_when_a_cell_is_edited_or_inserted(house):
    path = house.book / NAME
    before = nbformat.read(path, as_version=4)
    nb = copy.deepcopy(before)
    nb.cells[5].source += "\n\nMore."
    nb.cells.insert(5, text("Inserted."))
    nbformat.write(nb, path)
    notebooks.sync([path], house)
    after = nbformat.read(path, as_version=4)
    assert [c.id for c in after.cells if c.source != "Inserted."] == [c.id for c in before.cells]
    assert len({c.id for c in after.cells}) == len(after.cells)


def test_sync_folds_setup_solutions_and_what_is_tagged(house):
    nb = nbformat.read(house.book / NAME, as_version=4)
    parts = {"# @title Setup": "hide-input", "# @title Figure: a line": "hide-input"}
    for part, tag in (*parts.items(), ("# @title Solution 7.1", "hide-cell")):
        cell = cell_of(nb, part)
        assert cell.metadata.cellView == "form"
        assert cell.metadata.jupyter.source_hidden is True
        assert tag in cell.metadata.tags


def test_address_is_followed(house):
    path = house.book / NAME
    house.url, house.branch = "https://github.com/NEW/home", "stable"
    notebooks.sync([path], house)
    words = path.read_text(encoding="utf-8")
    assert "SOME/where" not in words
    assert "git+https://github.com/NEW/home@stable" in words
    assert f"https://colab.research.google.com/github/NEW/home/blob/stable/book/{NAME}" in words


def test_run_time_row_is_written(house):
    assert (
        "12 s with the fast profile on 2 CPU cores (measured 2026-01-02)" in (house.book / NAME).read_text()
    )


def test_setup_cell_is_short():
    source = notebooks.House(ROOT, "https://github.com/OWNER/dhida-book").setup()
    assert len(source.splitlines()) <= 20
    assert max(map(len, source.splitlines())) <= 88


def test_time_writes_records_and_reports_failures(house, capsys):
    good, bad = house.book / "08_good.ipynb", house.book / "09_bad.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[text("# 8 · x"), code("1 + 1")]), good)
    nbformat.write(nbformat.v4.new_notebook(cells=[text("# 9 · x"), code("1 / 0")]), bad)
    assert notebooks.time_notebooks([good, bad], house) == 1
    records = json.loads((house.root / "data" / "records" / "runtimes.json").read_text())
    assert set(records) == {good.name}
    assert 0 < records[good.name]["seconds"] < 120
    assert "ZeroDivisionError" in capsys.readouterr().out


# ---- the real chapters, and the runner of the chapters -----------------------------------------------------


@pytest.mark.parametrize("path", notebooks.House.at(ROOT).notebooks(), ids=lambda p: p.stem)
def test_real_chapter_keeps_every_rule(path):
    assert notebooks.check([path], notebooks.House.at(ROOT)) == []


def test_what_can_run_again_is_left_alone(house):
    """Names that a cell gives itself, the same import twice, and what is only local."""
    path = house.book / NAME
    nb = nbformat.read(path, as_version=4)
    nb.cells += [
        code("import math\n\nxs = [math.pi]\nfor x in xs:\n    y = [x + k for k in xs]"),
        code("import math\n\nfor x in xs:\n    y = sum(x for _ in xs)"),
        code("def f(y):\n    x = y\n    return x, xs\n\n\nlong = [n for z in xs if (n := z) > 1]"),
        code("x, y, n = 1, 2, 3\nz = f(y)"),
    ]
    chapter = notebooks.Chapter(path, nb, house)
    assert list(notebooks.rules.cells.run_again(chapter)) == []


def test_a_failing_chapter_turns_make_test_red(tmp_path):
    """What `make test` runs over the chapters fails for an error, a wrong assertion and a dead kernel."""
    sources = {
        "good": "assert 1 + 1 == 2, 'two'",
        "raises": "1 / 0",
        "wrong": "assert 1 + 1 == 3, 'three'",
        "dies": "import os\nos._exit(1)",
    }
    for name, source in sources.items():
        nbformat.write(nbformat.v4.new_notebook(cells=[code(source)]), tmp_path / f"{name}.ipynb")
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=4", "-p", "no:cacheprovider", "-q"]
    command = [sys.executable, "-m", "pytest", *options, "-c", os.devnull, "--rootdir", ".", "-rA", "."]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 1, run.stdout
    found = {
        name: verdict
        for verdict, name in re.findall(r"^(PASSED|FAILED) (\w+)\.ipynb::Cell 0", run.stdout, re.M)
    }
    assert found == {name: "PASSED" if name == "good" else "FAILED" for name in sources}


# ---- the cache of the build ------------------------------------------------------------------------------


def test_cache_goes_when_library_data_or_requirements_change(tmp_path):
    for name in ("dhida_lib/a.py", "data/records/b.csv", "data/records/runtimes.json", "requirements.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    cached = tmp_path / "_build" / ".jupyter_cache" / "entry"

    def fill_and_refresh() -> bool:
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.touch()
        build_book.refresh_cache(tmp_path)
        return cached.exists()

    assert not fill_and_refresh(), "a cache of unknown origin"
    assert fill_and_refresh(), "nothing changed"
    for name in ("dhida_lib/a.py", "data/records/b.csv", "requirements.txt"):
        (tmp_path / name).write_text("2")
        assert not fill_and_refresh(), name
    (tmp_path / "dhida_lib" / "new.py").touch()
    assert not fill_and_refresh(), "a new file"
    (tmp_path / "data" / "records" / "runtimes.json").write_text("2")
    (tmp_path / "dhida_lib" / "__pycache__").mkdir()
    (tmp_path / "dhida_lib" / "__pycache__" / "a.pyc").touch()
    assert fill_and_refresh(), "these change no output"
