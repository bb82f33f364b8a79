"""What the code and the pages cite is there: pages, headings, links and paths of this repository."""

import os
import re
import subprocess
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.git import in_git

ROOT = Path(__file__).resolve().parents[1]
NO_SOURCE = {".git", ".venv", "build", "demo", "__pycache__"}
# A page by its path from the root, and a heading in it.
CITATION = re.compile(r"(?<![\w./-])((?:(?:docs|deploy|tests)/[\w./-]+|[A-Z][A-Z_]{3,})\.md)(#[\w-]+)?")
# Pages by the number of a section, pages that never were here, and the folder beside the repository.
OUTSIDE = re.compile(
    r"\b[\w-]+\.md,? (?:section )?\d|\b(?:raxnet|comparison_models)\.md|\.\./shared/|\bshared/spec\b"
)
PARSER = MarkdownIt("commonmark").enable("table")


def tracked(root: Path) -> list[Path]:
    """The files of Git; in a tree without Git, as of a source archive, all that are no build output."""
    names = in_git(root)
    if names is not None:
        return [root / name for name in names if (root / name).is_file()]
    files = []
    for folder, folders, names in os.walk(root):
        hidden = {name for name in folders if name.startswith(".") and name != ".ci"}
        folders[:] = [
            name for name in folders if name not in NO_SOURCE | hidden and not name.endswith(".egg-info")
        ]
        files += [Path(folder, name) for name in names]
    return files


def text_of(path: Path) -> str:
    """A file's text; nothing of pictures, of the lock and of what others wrote."""
    content = b"" if path.suffix == ".lock" or "vendor" in path.parts else path.read_bytes()
    return "" if b"\0" in content else content.decode(errors="ignore")


@cache
def blocks(page: str) -> list[Token]:
    return PARSER.parse(page)


def tokens(page: str) -> list[Token]:
    """A Markdown page's blocks and what is in them, flat."""
    return [part for block in blocks(page) for part in (block, *(block.children or ()))]


@cache
def anchors(page: str) -> set[str]:
    """The headings of a page as GitHub names them: lower case, hyphens for spaces, -1 for the second of a name."""
    found, seen = set(), Counter()
    for opening, inline in pairwise(blocks(page)):
        if opening.type == "heading_open":
            parts = [part.content for part in inline.children or () if part.type in ("text", "code_inline")]
            slug = re.sub(r"[^\w\- ]", "", "".join(parts).lower()).replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return found


def unresolved(target: Path, anchor: str) -> str | None:
    """What is wrong with a reference to a file and a heading in it."""
    if not target.exists():
        return "no such file"
    if anchor and (target.suffix != ".md" or anchor not in anchors(target.read_text())):
        return "no such heading"
    return None


def broken_citations(path: Path, text: str, root: Path) -> list[str]:
    """Pages that a text cites by their path from the root, and pages that are not in the repository."""
    found = [f"{match[0]}: cites what a clone does not have" for match in OUTSIDE.finditer(text)]
    for match in CITATION.finditer(text):
        if wrong := unresolved(root / match[1], (match[2] or "").removeprefix("#")):
            found.append(f"{match[0]}: {wrong}")
    return [f"{path.relative_to(root)}: {one}" for one in found]


def broken_links(path: Path, text: str, root: Path) -> list[str]:
    """Relative links and pictures of a Markdown page."""
    found = []
    for token in tokens(text):
        link = str(token.attrGet("href") or token.attrGet("src") or "")
        file, _, anchor = unquote(link).partition("#")
        if link and not re.match(r"[a-z]+:", link):
            wrong = unresolved(path.parent / file if file else path, anchor)
            found += [f"{path.relative_to(root)}: {link}: {wrong}"] if wrong else []
    return found


def missing_paths(path: Path, text: str, root: Path) -> list[str]:
    """Paths of the repository that a page writes as code: words that begin with one of its folders."""
    code = " ".join(token.content for token in tokens(text) if token.type in ("code_inline", "fence"))
    words = {re.split("::|#", word)[0].strip(",;:()'\"") for word in code.split()}
    ours = {word for word in words if "/" in word and (word.split("/")[0] in folders(root))}
    return [
        f"{path.relative_to(root)}: `{word}` is not there"
        for word in sorted(ours)
        if not any(root.glob(word))
    ]


@cache
def folders(root: Path) -> frozenset[str]:
    return frozenset(path.relative_to(root).parts[0] for path in tracked(root) if path.parent != root)


def findings(root: Path) -> list[str]:
    found = []
    for path in tracked(root):
        text = text_of(path)
        if path != Path(__file__).resolve():
            found += broken_citations(path, text, root)
        if path.suffix == ".md":
            found += broken_links(path, text, root)
            # A change log speaks of the past as well.
            found += missing_paths(path, text, root) if path.name != "CHANGELOG.md" else []
    return sorted(set(found))


@pytest.mark.heavy
def test_every_citation_link_and_path_leads_somewhere():
    assert findings(ROOT) == []


PAGE = """# A page
## `One` & two: three-four
## Twice
## Twice
See [one](#one--two-three-four), [twice](docs/page.md#twice-1), [there](docs/page.md) and ![](docs/a%20b.png).
Run `python trainer/fit.py` or `trainer/*.py::test`; <https://example.org/docs/none.md>.
"""
WRONG = {  # what a file says: what is found
    ("README.md", "[a](docs/none.md)"): "README.md: docs/none.md: no such file",
    ("README.md", "[a](docs/page.md#three)"): "README.md: docs/page.md#three: no such heading",
    ("README.md", "[a](docs/page.md#twice-2)"): "README.md: docs/page.md#twice-2: no such heading",
    ("README.md", "![a](none.png)"): "README.md: none.png: no such file",
    ("README.md", "[a][b]\n\n[b]: none.svg"): "README.md: none.svg: no such file",
    ("README.md", "[a](trainer/fit.py#L1)"): "README.md: trainer/fit.py#L1: no such heading",
    ("docs/page.md", "[a](docs/page.md)"): "docs/page.md: docs/page.md: no such file",
    ("docs/page.md", "`python trainer/none.py`"): "docs/page.md: `trainer/none.py` is not there",
    ("docs/page.md", "```sh\ntrainer/none.py\n```"): "docs/page.md: `trainer/none.py` is not there",
    ("trainer/fit.py", "# (docs/none.md)"): "trainer/fit.py: docs/none.md: no such file",
    ("trainer/fit.py", "# docs/page.md#none."): "trainer/fit.py: docs/page.md#none: no such heading",
    ("trainer/fit.py", "# (method.md, 3)"): "trainer/fit.py: method.md, 3: cites what a clone does not have",
    ("trainer/run.sh", "cat ../shared/x"): "trainer/run.sh: ../shared/: cites what a clone does not have",
}


@pytest.fixture
def tree(tmp_path):
    """A small source tree in which all is well; what an environment holds does not count."""
    files = {
        "README.md": PAGE,
        "docs/page.md": PAGE.replace("docs/", ""),
        "docs/a b.png": "\0",
        "trainer/fit.py": '"""As docs/page.md#one--two-three-four says (docs/page.md)."""',
        "trainer/run.sh": "",
        ".venv/other.py": "# docs/none.md",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def test_a_tree_in_which_all_is_well(tree):
    assert findings(tree) == []


@pytest.mark.parametrize(("name", "added"), WRONG)
def test_what_leads_nowhere_is_found(tree, name, added):
    path = tree / name
    path.write_text(f"{path.read_text()}\n{added}\n")
    assert findings(tree) == [WRONG[name, added]]


@pytest.mark.heavy
def test_with_git_its_files_alone_count(tree):
    for words in (["init", "-q"], ["add", "README.md", "docs", "trainer"]):
        subprocess.run(["git", "-C", str(tree), *words], check=True)
    (tree / "notes.txt").write_text("docs/none.md")
    assert findings(tree) == []
    (tree / "trainer/fit.py").write_text("# docs/none.md")
    assert findings(tree) == ["trainer/fit.py: docs/none.md: no such file"]
