"""`python3 -m lib book`: the lessons as a site to read, from the solved notebooks as they stand; nothing is executed.

The site opens from the disk and loads nothing from elsewhere: Sphinx and myst-nb make it, Furo gives it its looks, and
MathJax, one file of an installed package, its formulas.
"""

import argparse
import ast
import base64
import contextlib
import hashlib
import importlib.metadata
import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
MATHJAX = "tex-svg.js"  # draws formulas as SVG, so that it needs no fonts beside it
PAGES = [f"lessons/{name}.md" for name in ("GLOSSARY", "CLAIMS", "MEASURED", "TROUBLESHOOTING", "INSTRUCTORS")]
PAGES += ["data/SOURCES.md"]
FILES = ["LICENSE", "lessons/front.gif"]
HOUSE = (
    "lib",
    "lessons/checker",
    "lessons/exercises",
    "lessons/figures",
    "lessons/tools",
    "tests",
)  # the folders that the map shows
SETTINGS = {
    "project": "LLaMA and RWKV from scratch",
    "language": "en",
    "extensions": ["myst_nb", "sphinx.ext.mathjax"],
    "root_doc": "index",
    "nb_execution_mode": "off",
    "nb_output_stderr": "remove",
    "myst_enable_extensions": ["dollarmath", "amsmath"],
    "myst_heading_anchors": 4,
    "myst_update_mathjax": False,
    "mathjax_path": f"mathjax/{MATHJAX}",
    "mathjax3_config": {
        "svg": {"scale": 0.92},
        "tex": {"inlineMath": [["$", "$"], ["\\(", "\\)"]]},
        "options": {"ignoreHtmlClass": "document", "processHtmlClass": "math|text_html", "enableMenu": False},
    },
    "html_theme": "furo",
    "html_title": "LLaMA and RWKV from scratch",
    "html_css_files": ["book.css"],
    "html_theme_options": {
        "light_css_variables": {"color-brand-primary": "#0065A3", "color-brand-content": "#0065A3"},
        "dark_css_variables": {"color-brand-primary": "#6CB8EA", "color-brand-content": "#6CB8EA"},
    },
    "html_copy_source": False,
    "html_show_sourcelink": False,
    "html_show_search_summary": False,  # a browser may not fetch a page from the disk
    "suppress_warnings": ["misc.highlighting_failure"],
}
STYLE = """\
/* Code lines have up to 110 letters; lines to read should be shorter. */
.content { width: 53em; }
article p, article li, article details { max-width: 46em; }
div.cell div.cell_input, div.cell div.cell_output { font-size: .94em; }
div.cell div.cell_input { border-color: var(--color-background-border); border-left-color: #0072b2; }
/* Figures are drawn on white: in the dark theme they lie on a white card. */
article img { background: #fff; border-radius: 4px; box-sizing: border-box; height: auto; max-width: 100%; }
body[data-theme="dark"] article img { padding: 6px; }
@media (prefers-color-scheme: dark) { body:not([data-theme="light"]) article img { padding: 6px; } }
article h2 { font-size: 1.6em; }
@media (max-width: 699px) { article h1 { font-size: 1.8em; } }
@media (min-width: 700px) { div.cell_output pre { white-space: pre-wrap; } }
div.cell_output .text_html, div.math, mjx-container[display="true"] { overflow-x: auto; overflow-y: hidden; }
article details { border-left: 3px solid var(--color-background-border); margin: .6em 0; padding-left: .8em; }
article summary { cursor: pointer; color: var(--color-brand-primary); }
@media print { div.cell, img { break-inside: avoid; } }
"""


class BookError(RuntimeError):
    """A book that can't be made, or one that would have a fault; the message says what to do."""


def build(out, root=ROOT):
    """Write the book of the course in `root` to the folder `out`; return how many lessons it has. Raises BookError."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        notebooks = lay_out(root, source)
        made = Path(folder, "made")
        warnings = run_sphinx(source, made, alt_texts(notebooks))
        if warnings:
            raise BookError("Sphinx warns, so the book would have a fault:\n" + "\n".join(warnings))
        replace(out, made)
    return len(notebooks)


def lay_out(root, source):
    """Write what Sphinx reads, lessons, pages and MathJax, to `source`; return the lessons: {name: notebook}."""
    solved = sorted((root / "lessons" / "solutions").glob("*.ipynb"))
    if not solved:
        raise BookError("there are no solved lessons: run `python3 -m lib build` first")
    for name in [*PAGES, *FILES]:
        to = source / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, to)
    for name in PAGES:
        text = (source / name).read_text(encoding="utf-8")
        (source / name).write_text(text.replace("](../README.md", "](../index.md"), encoding="utf-8")
    notebooks = {}
    for path in solved:
        forms = [nbformat.read(form, as_version=4) for form in (path, root / "lessons" / path.name)]
        notebooks[path.stem] = lesson(*forms)
        nbformat.write(notebooks[path.stem], source / "lessons" / path.name)
    (source / "index.md").write_text(index(root, notebooks), encoding="utf-8")
    (source / "house.md").write_text(house(root), encoding="utf-8")
    (source / "static" / "mathjax").mkdir(parents=True)
    shutil.copyfile(mathjax(), source / "static" / "mathjax" / MATHJAX)
    (source / "static" / "book.css").write_text(STYLE, encoding="utf-8")
    return notebooks


def lesson(solved, stub):
    """Return a lesson as the book shows it: exercises open, as in `stub`, with what the `solved` cells put out.

    The solutions stand in the folds that every lesson has. What only makes sense in a notebook goes: the set-up cell,
    the links between the two forms, pictures from the network, and what repeats a picture's alt text for JupyterLab.
    """
    kept = []
    for cell, opened in zip(solved.cells, stub.cells, strict=True):
        if "setup" in cell.metadata.get("tags", []):
            continue
        if cell.cell_type == "markdown":
            text = re.sub(r"^<small>.*</small>\n\n?", "", opened.source, flags=re.M)
            text = re.sub(r"\[?!\[[^\]]*\]\(https?:[^)]*\)(?:\]\([^)]*\))?", "", text)
            cell.source = text.replace("](../README.md", "](../index.md")
        else:
            cell.source = opened.source
            cell.outputs = [output for output in cell.outputs if not is_hidden(output)]
        kept.append(cell)
    solved.cells = kept
    return solved


def is_hidden(output):
    """Say whether an output is text for screen readers alone, which `lib.show.theme.show` puts after a picture."""
    return output.get("data", {}).get("text/html", "").startswith('<p style="position:absolute')


def alt_texts(notebooks):
    """Return the alt text of each picture in these notebooks: {sha256 of its bytes: text}. Raises BookError."""
    found = {}
    for name, notebook in notebooks.items():
        for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
            if "image/png" not in output.get("data", {}):
                continue
            alt = output.metadata.get("image/png", {}).get("alt")
            if not alt:
                raise BookError(f"{name} has a picture without alt text: show it with lib.show.plots")
            found[hashlib.sha256(base64.b64decode(output.data["image/png"])).hexdigest()] = alt
    return found


def index(root, names):
    """Return the first page: the README, and the order of all pages."""
    readme = (
        (root / "README.md")
        .read_text(encoding="utf-8")
        .replace("[CONTRIBUTING](.github/CONTRIBUTING.md)", "CONTRIBUTING")
    )
    parts = [("Lessons", [f"lessons/{name}" for name in names]), ("Beside the lessons", [*PAGES, "house.md"])]
    trees = []
    for caption, pages in parts:
        listed = "\n".join(page.removesuffix(".md") for page in pages)
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n")
    return readme + "\n" + "\n".join(trees)


def house(root):
    """Return the page that maps the code: folder by folder, each file with the first sentence that it says."""
    lines = ["# The house", "", "Every file of the course's code, with what it says of itself."]
    folders = sorted({path.parent for name in HOUSE for path in (root / name).rglob("*.py")})
    for folder in folders:
        told = {path.name: first_sentence(path) for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"}
        if told:
            lines += ["", f"## {folder.relative_to(root).as_posix()}", ""]
            lines += [f"- `{name}`: {sentence}" for name, sentence in told.items()]
    return "\n".join(lines) + "\n"


def first_sentence(path):
    """Return the first sentence that a file says of itself, in a line; "a file of examples" where it says nothing."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "a file of examples"
    return re.match(r".+?(?:[.!?](?=\s)|$)", " ".join(text.split("\n\n")[0].split()))[0]


def mathjax():
    """Return the path of MathJax's one file in the package that carries it. Raises BookError."""
    try:
        files = importlib.metadata.files("sphinx-mathjax-offline")
    except importlib.metadata.PackageNotFoundError:
        files = None
    found = [file.locate() for file in files or () if file.name == MATHJAX]
    if not found:
        raise BookError("the package sphinx-mathjax-offline is missing: `python3 -m lib book` installs it")
    return found[0]


def run_sphinx(source, out, alts):
    """Let Sphinx write the site, with these alt texts (see `alt_texts`); return its warnings, a line each."""
    from docutils.nodes import image
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    settings = {**SETTINGS, "html_static_path": [str(source / "static")]}
    said = io.StringIO()

    def describe(app, doctree):
        # myst-nb takes one alt text a cell; a cell may have several pictures. It names the files after their bytes.
        for node in doctree.findall(image):
            if Path(node["uri"]).stem in alts:
                node["alt"] = alts[Path(node["uri"]).stem]

    with patch_docutils(), docutils_namespace(), contextlib.redirect_stderr(io.StringIO()):
        app = Sphinx(source, None, out, out.parent / "doctrees", "html", settings, status=None, warning=said)
        app.set_html_assets_policy("always")  # a formula may stand in an output alone
        app.connect("doctree-read", describe)
        app.build()
    words = re.sub(r"\x1b\[[0-9;]*m", "", said.getvalue()).replace(f"{source}/", "")
    return [line for line in words.splitlines() if line.strip()]


def replace(out, made):
    """Put the folder `made` in the place of an older book. Raises BookError where `out` holds something else."""
    if out.exists():
        if any(out.iterdir()) and not (out / "searchindex.js").is_file():
            raise BookError(f"{out} holds something that is no book: name another folder with --out")
        shutil.rmtree(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made, out)


def main(argv=None):
    """Make the book. Returns 0, or 1 where it can't be made."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lib book",
        description="Make a site to read from the solved lessons as they stand. It opens from the disk.",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "book", metavar="DIR", help="where to (default: book)")
    args = parser.parse_args(argv)
    try:
        count = build(args.out)
    except BookError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{count} lessons: open {args.out / 'index.html'}")
    return 0
