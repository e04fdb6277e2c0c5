"""For teachers: chapters without solutions, an answer key, grades, and slides.

    python tools/teach.py edition FOLDER           the chapters without solutions, hints kept
    python tools/teach.py key FILE.md              every exercise with its solution
    python tools/teach.py grade NOTEBOOK …         run students' notebooks and print a table
    python tools/teach.py slides FOLDER [N …]      run chapters (all, or these numbers) and write slides

`grade` runs what a notebook holds, with the rights of whoever calls it: for work of strangers use a machine
or a container of its own. Solution cells are left out before, so that none of them answers for the student;
a cell that fails or takes too long stops nothing but itself.
"""

from __future__ import annotations

import argparse
import copy
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbclient import NotebookClient

sys.path.insert(0, str(Path(__file__).resolve().parent))

import notebooks
import slides

SOLUTION, EXERCISE = "solution", "exercise"  # tags of cells
VERDICT = re.compile(r"^(✓ |✗ |)Exercise (\d+\.\d+): (.*)$", re.M)
HEADING = re.compile(r"^### (Exercise (\d+\.\d+) · .+)$", re.M)
RIGHT, WRONG, OPEN = "right", "wrong", "-"
MARKS = {"✓ ": RIGHT, "✗ ": WRONG, "": OPEN}


def without_solutions(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy of a chapter that has no solution cell, and no output."""
    made = copy.deepcopy(notebook)
    made.cells = [cell for cell in made.cells if SOLUTION not in cell.metadata.get("tags", [])]
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return made


def edition(chapters: Iterable[Path], folder: Path) -> list[Path]:
    """Write the chapters without solutions into a folder.

    Args:
        chapters: the notebooks.
        folder: where the copies go; never the chapters' own.

    Returns:
        What was written.

    Raises:
        ValueError: if the folder is that of the chapters.
    """
    written = []
    for path in chapters:
        if path.parent.resolve() == folder.resolve():
            raise ValueError(f"{folder} holds the chapters themselves; name another folder")
        folder.mkdir(parents=True, exist_ok=True)
        made = without_solutions(nbformat.read(path, as_version=4))
        notebooks.write_atomic(folder / path.name, nbformat.writes(made) + "\n")
        written.append(folder / path.name)
    return written


def key(chapters: Iterable[Path]) -> str:
    """The answer key as Markdown: a section for each exercise that has a solution cell."""
    lines = ["# Answer key", ""]
    for path in chapters:
        heading = ""
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "markdown":
                headings = HEADING.findall(cell.source)
                heading = headings[-1][0] if headings else heading
            elif SOLUTION in cell.metadata.get("tags", []):
                lines += [f"## {heading}", "", "```python", cell.source.rstrip(), "```", ""]
    return "\n".join(lines)


def exercises(notebook: nbformat.NotebookNode) -> list[str]:
    """The numbers of the exercises of a chapter, in order."""
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return [number for text in texts for _, number in HEADING.findall(text)]


def verdicts(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """Exercise → what its check printed last, in one word."""
    found = dict.fromkeys(exercises(notebook), OPEN)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            for mark, number, _ in VERDICT.findall(output.get("text", "")):
                if number in found:
                    found[number] = MARKS[mark]
    return found


def grade(path: Path, seconds: int = 600) -> dict[str, str]:
    """Run a student's notebook and see what its checks say.

    Args:
        path: the notebook; it is not changed.
        seconds: what one cell may take.

    Returns:
        Exercise → ``"right"``, ``"wrong"`` or ``"-"`` for one that was not tried or not reached.
    """
    notebook = without_solutions(nbformat.read(path, as_version=4))
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook,
        timeout=seconds,
        startup_timeout=max(seconds, 300),  # on a busy machine a kernel takes minutes to answer
        interrupt_on_timeout=True,
        allow_errors=True,
        kernel_name="python3",
        resources=resources,
    )
    client.execute()
    return verdicts(notebook)


def table(grades: dict[str, dict[str, str]]) -> list[str]:
    """A line for each notebook: its name, a word for each exercise, and how many are right."""
    numbers = list(dict.fromkeys(number for marks in grades.values() for number in marks))
    width = max(map(len, [*grades, "notebook"]))
    lines = [f"{'notebook':{width}}  " + " ".join(f"{n:>5}" for n in numbers) + "  right"]
    for name, marks in grades.items():
        cells = " ".join(f"{marks.get(n, ''):>5}" for n in numbers)
        right = sum(mark == RIGHT for mark in marks.values())
        lines.append(f"{name:{width}}  {cells}  {right:2d} of {len(marks)}")
    return lines


def numbered(chapters: list[Path], numbers: list[str]) -> list[Path]:
    """The chapters of these numbers, all without any.

    Raises:
        ValueError: if there is no chapter of a number.
    """
    by_number = {str(int(path.name[:2])): path for path in chapters}
    if wrong := [number for number in numbers if number not in by_number]:
        raise ValueError(f"there is no chapter {', '.join(wrong)}; the numbers are 1 to {len(by_number)}")
    return [by_number[number] for number in numbers] or chapters


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["edition", "key", "grade", "slides"])
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--seconds", type=int, default=600, help="what one cell may take (default: 600)")
    arguments = parser.parse_args(argv)
    chapters = notebooks.House.at().notebooks()
    try:
        if arguments.command == "edition":
            written = edition(chapters, arguments.paths[0])
            print(f"{len(written)} chapters without solutions in {arguments.paths[0]}")
        elif arguments.command == "key":
            notebooks.write_atomic(arguments.paths[0], key(chapters))
            print(f"the answer key is {arguments.paths[0]}")
        elif arguments.command == "slides":
            for chapter in numbered(chapters, [str(path) for path in arguments.paths[1:]]):
                page, count = slides.write(chapter, arguments.paths[0], notebooks.ROOT, arguments.seconds)
                print(f"{page}: {count} slides", flush=True)
        else:
            grades = {str(path): grade(path, arguments.seconds) for path in arguments.paths}
            print("\n".join(table(grades)))
    except (OSError, ValueError) as error:
        print(f"teach: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
