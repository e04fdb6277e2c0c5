"""Rules for text: it reads the same everywhere, its links lead somewhere, its numbers come from cells."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..cells import Chapter
from .base import Finding, rule

LINE = r"^[ \t>]*"  # the begin of a line, also inside a quote
PORTABLE: list[tuple[str, str]] = [  # looked for in the text without code blocks
    (LINE + r"(?:`{3,}|~{3,})\{", "a directive in a fence"),
    (LINE + r":{3,}", "a colon fence"),
    (r"(?<![`\w])\{[a-zA-Z][\w:+-]*\}`+[^`\s]", "a role such as {eq}`…`"),
    (LINE + r"\([\w:-]+\)=\s*$", "a target `(label)=`"),
    (r"\$\$[ \t]*\([\w:-]+\)", "a labelled $$ block"),
    (r"\[\^[\w-]+\]", "a footnote"),
    (r"\\(?:label|ref|eqref|cite)\{", "a LaTeX reference"),
    (r"^%", "a line that begins with %, which the site takes for a comment,"),
    (r"^\+{3}", "a block break +++"),
    (r"^:[ \t]", "a definition list"),
    (LINE + r"[-*+][ \t]+\[[ xX]\][ \t]", "a task list"),
    (r"(?<!!)\[\]\(", "a link without text"),
]
IN_WORDS: list[tuple[str, str]] = [  # looked for outside inline code and formulas, too
    (r"\{\{", "a substitution {{…}}"),
    (r"\{[.#][a-zA-Z][^}\n]*\}", "an attribute {#id} or {.class}"),
    (r"~~\S", "strikethrough"),
    (r"\\\\[(\[]", "a formula in \\\\( or \\\\["),
    (r"<[a-z]+[^>\n]*\s(?:style|class|id|on[a-z]+)=", "an HTML attribute such as style"),
    (r"<(?:inv|project|path|myst):", "a link that only MyST knows"),
]
TAGS = {"details", "summary", "br", "sub", "sup", "kbd"}
MATH = r"\$\$.*?\$\$|\$[^$\n]*\$|\\begin\{equation\*\}.*?\\end\{equation\*\}"


@rule
def portable_markdown(chapter: Chapter) -> Iterator[Finding]:
    """Text reads the same in JupyterLab, on Colab and on the site."""
    for cell in chapter.cells:
        if cell.is_code and re.search(r"^\s*(?:import|from) +myst_nb\b", cell.source, re.M):
            yield cell.index, "glue of myst_nb works on the site only"
        if not cell.is_text:
            continue
        words = re.sub(MATH, "", cell.prose, flags=re.S)
        for patterns, text in ((PORTABLE, cell.unfenced), (IN_WORDS, words)):
            for pattern, what in patterns:
                if re.search(pattern, text, re.M):
                    yield cell.index, f"{what} does not work in JupyterLab, on Colab or on the site"
        for tag in sorted(set(re.findall(r"</?([a-zA-Z][\w-]*)(?=[\s/>])", words)) - TAGS):
            yield cell.index, f"the HTML tag <{tag}>; allowed are {', '.join(sorted(TAGS))}"
        for line in cell.prose.splitlines():
            if line.lstrip("> ").startswith("|") and any("|" in m for m in re.findall(r"\$[^$]*\$", line)):
                yield (
                    cell.index,
                    "a | inside a formula ends the cell of a table; use \\lvert … \\rvert or \\mid",
                )


ENVIRONMENTS = r"\\begin\{(equation|(?:math|displaymath|(?:fl)?align(?:at)?|gather|multline|eqnarray)\*?)\}"


@rule
def equations(chapter: Chapter) -> Iterator[Finding]:
    r"""A numbered equation is `\begin{equation*} … \tag{n} \end{equation*}`; other environments stay out."""
    for cell in chapter.cells:
        if not cell.is_text:
            continue
        for env in re.findall(ENVIRONMENTS, cell.prose):
            yield cell.index, f"\\begin{{{env}}}: use \\begin{{equation*}} … \\tag{{n}} \\end{{equation*}}"
        if re.search(r"\$\$[^$]*\\tag\{[^$]*\$\$", cell.prose):
            yield cell.index, "\\tag inside $$: use \\begin{equation*} … \\tag{n} \\end{equation*}"
        if cell.prose.count("\\begin{equation*}") != cell.prose.count("\\end{equation*}"):
            yield cell.index, "\\begin{equation*} and \\end{equation*} do not pair"


@rule
def links(chapter: Chapter) -> Iterator[Finding]:
    """A link leads to the web or to a file of the book that is there."""
    for cell in chapter.cells:
        for target in re.findall(r"\]\(([^)\s]+)\)", cell.prose) if cell.is_text else ():
            if target.startswith("#"):
                yield cell.index, f"a link to {target}: a heading's anchor differs between front ends"
                continue
            if scheme := re.match(r"[a-z]+(?=:)", target):
                if scheme[0] not in {"http", "https", "mailto"}:
                    yield cell.index, f"a link to {target}, which only MyST knows"
                continue
            file = (chapter.path.parent / target.split("#")[0]).resolve()
            if not file.is_file():
                yield cell.index, f"a link to {target}, which is not there"


# A decimal or a percentage that is no part of a section's number, an exercise's, a DOI, a date or a version.
NUMBER = (
    r"(?<![\w.,/§–-])(?<!§ )(?<!Section )(?<!Sections )(?<!Exercise )(?<!arXiv )(?<!arXiv:)(?<!doi )(?<!doi:)"
    r"(?:\d+\.\d+(?:[ \u00a0\u202f]?%)?|\d+[ \u00a0\u202f]?%)(?![\w/]|[.,-]\d)"
)
CITED = (
    r"\bpaper|\bTables? [1-4]\b|§"  # a sentence that quotes the paper: a reader can look the number up there
)
TYPED = r"<!-- typed: (.*?) -->"  # which numbers of a cell may stand there, and why


@rule
def typed_number(chapter: Chapter) -> Iterator[Finding]:
    """A number in the text comes from a cell, or is the paper's, or a comment says where it comes from."""
    in_code = {
        abs(node.value)
        for cell in chapter.cells
        for node in ast.walk(cell.tree if cell.is_code else ast.Module([], []))
        if isinstance(node, ast.Constant) and type(node.value) in (int, float)
    }
    for cell in chapter.cells:
        if not cell.is_text or cell.index == 0:  # the first cell's numbers are written by `sync`
            continue
        allowed = set(re.findall(NUMBER, " ".join(re.findall(TYPED, cell.source))))
        words = re.sub(rf"{MATH}|<!--.*?-->|\]\([^)]*\)|^#+ [^\n]*", " ", cell.prose, flags=re.S | re.M)
        for sentence in re.split(r"(?<=[.!?])\s+(?=\W*[A-Z])|\n\s*\n|\n(?=\s*(?:[-*|]|\d+\.)\s)", words):
            for text in re.findall(NUMBER, sentence):
                value = float(text.rstrip("% \u00a0\u202f"))
                known = {value, value / 100} if "%" in text else {value}
                if text not in allowed and not known & in_code and not re.search(CITED, sentence):
                    yield (
                        cell.index,
                        (
                            f"the number {text} is typed: print it in a cell, or say why with "
                            f"`<!-- typed: {text}: reason -->`"
                        ),
                    )


@rule
def details(chapter: Chapter) -> Iterator[Finding]:
    """Every <details> is closed, has a summary, and a blank line before its text (else it stays raw)."""
    for cell in chapter.cells:
        if not cell.is_text or "<details>" not in cell.prose:
            continue
        if len({cell.prose.count(tag) for tag in ("<details>", "</details>", "<summary>", "</summary>")}) > 1:
            yield cell.index, "a <details> without </details> or without <summary>"
        if re.search(r"</summary>[ \t]*\n?[ \t]*[^\s]", cell.prose):
            yield cell.index, "a blank line is needed after </summary>"
