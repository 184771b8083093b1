"""A lesson as the reading copy shows it: exercises open, furniture folded, nothing that contradicts itself."""

import base64
import hashlib
import re

import nbformat

# In the paragraph before a widget: sentences that tell what to do with it, which only one that moves can answer.
VERBS = "move|set|drag|slide|turn|pull|change|share|step|make|tilt|try|let|begin with|start from|find"
FIRSTS = "|".join(verb.capitalize() for verb in VERBS.split("|"))
ORDERS = re.compile(
    rf"(?:(?<=^)|(?<=[.?!]\s)|(?<=\*\*\s))(?:(?:First|Then)\s(?:{VERBS})|{FIRSTS})\b.*?[.?!](?:\s|$)", re.S
)
STILL = "*In the notebook the next picture has sliders or buttons. Here it stands still.*"
SAID = "*With the solution in the place of the cell above, the check says:*\n\n```text\n{}\n```"


class BookError(RuntimeError):
    """A book that can't be made, or one that would have a fault; the message says what to do."""


def lesson(solved, stub, moving=None):
    """Return a lesson as the book shows it: exercises open, as in `stub`, with what the `solved` cells put out.

    The solutions stand in the folds that every lesson has. What only makes sense in a notebook goes: the set-up cell,
    the links between the two forms, pictures from the network, and what repeats a picture's alt text for JupyterLab.
    An open exercise is not followed by its check's "right" as if it had passed. moving: HTML of the lesson's first
    widget, drawn in advance; a widget without it is not said to move.
    """
    kept = []
    for cell, opened in zip(solved.cells, stub.cells, strict=True):
        tags = cell.metadata.get("tags", [])
        if "setup" in tags:
            continue
        if cell.cell_type == "markdown":
            cell.source = plain_markdown(opened.source)
        elif any(tag.startswith("check:") for tag in tags):
            cell = said(cell)
        else:
            cell.source = opened.source
            cell.outputs = [output for output in cell.outputs if not is_hidden(output)]
            fold(cell)
            if "widgets.explore(" in cell.source:
                kept += arrange_widget(cell, kept, moving)
                moving = None
        kept.append(cell)
    solved.cells = kept
    return solved


def plain_markdown(text):
    """Return a text cell without what only makes sense in a notebook."""
    text = re.sub(r"^<small>.*</small>\n\n?", "", text, flags=re.M)
    text = re.sub(r"\[?!\[[^\]]*\]\(https?:[^)]*\)(?:\]\([^)]*\))?", "", text)
    return text.replace("](../README.md", "](../index.md")


def said(cell):
    """Return what a check says of the solution, as a text cell: the exercise above it is still open."""
    words = "".join(output.get("text", "") for output in cell.outputs).strip()
    text = SAID.format(words or "noted")
    return nbformat.v4.new_markdown_cell(text, id=cell.id, metadata={"tags": cell.metadata.get("tags", [])})


def fold(cell):
    """Fold the input of a cell whose source the notebook hides too."""
    if cell.metadata.get("jupyter", {}).get("source_hidden"):
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]


def arrange_widget(cell, before, moving):
    """Put a widget's drawn frames in the place of its still, or say that it stands still; return the cell to add."""
    if moving is not None:
        others = [output for output in cell.outputs if "image/png" not in output.get("data", {})]
        cell.outputs = [*others, nbformat.v4.new_output("display_data", {"text/html": moving})]
        return []
    if before and before[-1].cell_type == "markdown":
        *others, last = before[-1].source.split("\n\n")
        before[-1].source = "\n\n".join([*others, ORDERS.sub("", last).strip()])
    return [nbformat.v4.new_markdown_cell(STILL, id=f"{cell.id[:50]}-still")]


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
