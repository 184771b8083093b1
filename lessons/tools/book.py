"""`python3 -m lib book`: the lessons as a site to read, from the solved notebooks as they stand; nothing is executed.

The site opens from the disk and loads nothing from elsewhere: Sphinx and myst-nb make it, Furo gives it its looks, and
MathJax, one file of an installed package, its formulas. One page runs the trained models, with onnxruntime-web.
"""

import argparse
import contextlib
import importlib.metadata
import io
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat

from lessons.tools.site import landing, live_page, moving
from lessons.tools.site.house import house
from lessons.tools.site.lessons import BookError, alt_texts, lesson
from lessons.tools.site.npm_package import PackageError

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(__file__).parent / "site"
MATHJAX = "tex-svg.js"  # draws formulas as SVG, so that it needs no fonts beside it
PAGES = [f"lessons/{name}.md" for name in ("GLOSSARY", "CLAIMS", "MEASURED", "TROUBLESHOOTING", "INSTRUCTORS")]
PAGES += ["data/SOURCES.md"]
FILES = ["LICENSE", "lessons/front.gif"]
SETTINGS = {
    "project": "LLaMA and RWKV from scratch",
    "language": "en",
    "extensions": ["myst_nb", "sphinx.ext.mathjax"],
    "root_doc": "index",
    "nb_execution_mode": "off",
    "nb_output_stderr": "remove",
    "nb_code_prompt_show": "Show the code",
    "nb_code_prompt_hide": "Hide the code",
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
    "html_js_files": [("moving.js", {"defer": "defer"})],
    "html_theme_options": {
        "light_css_variables": {"color-brand-primary": "#0065A3", "color-brand-content": "#0065A3"},
        "dark_css_variables": {"color-brand-primary": "#6CB8EA", "color-brand-content": "#6CB8EA"},
    },
    "html_show_copyright": False,
    "html_copy_source": False,
    "html_show_sourcelink": False,
    "html_show_search_summary": False,  # a browser may not fetch a page from the disk
    "suppress_warnings": ["misc.highlighting_failure"],
}


def build(out, root=ROOT, live=True):
    """Write the book of the course in `root` to the folder `out`; return how many lessons it has. Raises BookError.

    live: with the page that runs the models, for which onnxruntime-web is fetched once, from npm's registry.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        notebooks = lay_out(root, source, live)
        made = Path(folder, "made")
        warnings = run_sphinx(source, made, alt_texts(notebooks))
        if warnings:
            raise BookError("Sphinx warns, so the book would have a fault:\n" + "\n".join(warnings))
        replace(out, made)
    return len(notebooks)


def lay_out(root, source, live=True):
    """Write what Sphinx reads, lessons, pages and what they load, to `source`; return the lessons: {name: notebook}."""
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
    static = source / "static"
    for folder in ("mathjax", "frames", "live"):
        (static / folder).mkdir(parents=True)
    shutil.copyfile(mathjax(), static / "mathjax" / MATHJAX)
    for name in ("book.css", "moving.js"):
        shutil.copyfile(SITE / name, static / name)
    notebooks, strips = {}, moving.strips(root)
    for path in solved:
        forms = [nbformat.read(form, as_version=4) for form in (path, root / "lessons" / path.name)]
        strip = strips.get(path.stem)
        frames = strip and moving.write(path.stem, strip, static / "frames")
        notebooks[path.stem] = lesson(*forms, frames)
        nbformat.write(notebooks[path.stem], source / "lessons" / path.name)
    if live:
        lay_out_live(root, source)
    (source / "index.md").write_text(landing.index(root, list(notebooks), [*PAGES, "house.md"], live), encoding="utf-8")
    (source / "house.md").write_text(house(root), encoding="utf-8")
    return notebooks


def lay_out_live(root, source):
    """Write the page of the live models. Raises BookError where what runs them can't be had."""
    try:
        live_page.lay_out(source, root, root / "data" / "cache")
    except PackageError as error:
        raise BookError(f"{error}; or make the book without the live models: --no-live") from error


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
    """Make the book, or take pictures of it. Returns 0, or 1 where it can't be made."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lib book",
        description="Make a site to read from the solved lessons as they stand. It opens from the disk.",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "book", metavar="DIR", help="where to (default: book)")
    parser.add_argument(
        "--no-live", action="store_true", help="leave out the page that runs the models, and npm's package"
    )
    parser.add_argument(
        "--pictures", type=Path, metavar="DIR", help="also leave pictures of all pages there, by Chromium"
    )
    args = parser.parse_args(argv)
    try:
        count = build(args.out, live=not args.no_live)
        print(f"{count} lessons: open {args.out / 'index.html'}")
        if args.pictures:
            from lessons.tools.site.pictures import take

            print(f"{take(args.out, args.pictures)} pictures in {args.pictures}")
    except BookError as error:
        print(error, file=sys.stderr)
        return 1
    if not args.no_live:
        print(f"The live models: python3 -m http.server --directory {args.out}, then http://localhost:8000/live.html")
    return 0
