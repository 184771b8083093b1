"""The page of the reading copy that maps the code: folder by folder, each file with what it says of itself."""

import ast
import re

HOUSE = (
    "lib",
    "lessons/checker",
    "lessons/exercises",
    "lessons/figures",
    "lessons/marking",
    "lessons/tools",
    "tests",
)  # the folders that the map shows


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
