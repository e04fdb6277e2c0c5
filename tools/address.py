"""The book's public address: written everywhere at once, or looked for where it is wrong.

    python tools/address.py https://github.com/somebody/a-book   write it (as `make address URL=…` does)
    python tools/address.py                                          say where the book's address stands

It stands in `_config.yml`, and from there in CITATION.cff, in README.md, and in each chapter: in the links
"Open in Colab" and "View source", and in the setup cell, which installs the library from it. As long as it is
the placeholder, the setup cell says that there is none.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import notebooks

ADDRESS = r"https://github\.com/[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/[A-Za-z0-9._-]{1,100}"
PAGES = {  # file → the text around the address, of which there is exactly so many
    "_config.yml": (r"(?m)^(  url: )\S+()$", 1),
    "CITATION.cff": (r'(?m)^((?:repository-code|url): ")[^"]*(")$', 2),
    "pyproject.toml": (r'(?m)^((?:Homepage|Changelog) = ")https://[^/]+/[^/]+/[^/"]+()', 2),
    "README.md": (r"(?s)(<!-- address -->\n).*?(\n<!-- /address -->)", 1),
}


def sentence(house: notebooks.House) -> str:
    """What README.md says of the address."""
    if not house.public:
        command = "`make address URL=https://github.com/NAME/REPOSITORY`"
        until = "until then a chapter alone on Colab says how to install the library from a copy."
        return f"The book has no public address yet. {command} writes one everywhere;\n{until}"
    colab = f"https://colab.research.google.com/github/{house.url.removeprefix('https://github.com/')}"
    page = f"{colab}/blob/{house.branch}/book/01_why_hash.ipynb"
    return f"The book lives at <{house.url}>. [Open Chapter 1 in Colab]({page})."


def texts(house: notebooks.House) -> dict[Path, str]:
    """The pages as they should be: file → its text.

    Raises:
        ValueError: if a page has no place for the address.
    """
    made = {}
    for name, (pattern, count) in PAGES.items():
        path = house.root / name
        new = sentence(house) if path.suffix == ".md" else house.url
        text, found = re.subn(
            pattern, lambda m, new=new: f"{m[1]}{new}{m[2]}", path.read_text(encoding="utf-8")
        )
        if found != count:
            raise ValueError(f"{name}: there are {found} places for the address, {count} are needed")
        made[path] = text
    return made


def wrong(house: notebooks.House) -> list[str]:
    """Where the address is another one than in `_config.yml`, one line each."""
    found = [
        f"{path.relative_to(house.root)}: not the address of _config.yml"
        for path, text in texts(house).items()
        if text != path.read_text(encoding="utf-8")
    ]
    for path in house.notebooks():
        if notebooks.sync_notebook(path, house) != path.read_text(encoding="utf-8"):
            found.append(f"book/{path.name}: not in its stored form, which has the address")
    return found


def write(url: str, root: Path = notebooks.ROOT) -> notebooks.House:
    """Write the address everywhere, and check it.

    Args:
        url: such as ``https://github.com/somebody/a-book``; what git or a browser adds is taken off.
        root: the repository.

    Returns:
        The house with the new address.

    Raises:
        ValueError: if it is no address of a repository on GitHub, or a page has no place for it.
    """
    url = url.strip().rstrip("/").removesuffix(".git")
    if not re.fullmatch(ADDRESS, url):
        raise ValueError(f"URL is {url!r}; https://github.com/NAME/REPOSITORY is needed")
    house = notebooks.House.at(root)
    house.url = url
    for path, text in texts(house).items():
        notebooks.write_atomic(path, text)
    notebooks.sync(house.notebooks(), house)
    return house


def main(arguments: list[str]) -> int:
    """Write or check; 0 if the address is the same everywhere, 2 for a wrong one."""
    try:
        house = write(arguments[0]) if arguments and arguments[0] else notebooks.House.at()
        left = wrong(house)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(*left, sep="\n", end="\n" * bool(left))
    said = f"the public address is {house.url}" if house.public else "there is no public address yet"
    print(f"{said}: {len(left)} places differ" if left else f"{said}, and every page has it")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
