"""All figures of the lessons are written out, each on a light page and on a dark one."""

import base64
import io

import nbformat
import numpy as np
from PIL import Image

from lessons.tools import picture


def shown(color, size=(30, 20)):
    """An output with a picture of one colour whose first pixel is clear."""
    made, buffer = Image.new("RGBA", size, color), io.BytesIO()
    made.putpixel((0, 0), (0, 0, 0, 0))
    made.save(buffer, "png")
    return nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(buffer.getvalue()).decode()})


def test_every_figure_is_written_on_both_pages(tmp_path, capsys):
    solutions = tmp_path / "lessons" / "solutions"
    solutions.mkdir(parents=True)
    cells = [
        nbformat.v4.new_markdown_cell("text"),
        nbformat.v4.new_code_cell("x", outputs=[shown("red"), shown("blue")]),
        nbformat.v4.new_code_cell("y", outputs=[nbformat.v4.new_output("stream", text="words")]),
    ]
    for name in ("04_rope", "05_attention"):
        nbformat.write(nbformat.v4.new_notebook(cells=cells), solutions / f"{name}.ipynb")
    assert picture.main(["--all", str(tmp_path / "all")], tmp_path) == 0
    names = sorted(path.name for path in (tmp_path / "all").iterdir())
    assert names == ["04_001a.png", "04_001b.png", "05_001a.png", "05_001b.png"]
    assert "4 figures" in capsys.readouterr().out
    pixels = np.asarray(Image.open(tmp_path / "all" / "04_001b.png"))
    assert pixels.shape == (60, 140, 3) and (pixels[30, [30, 100]] == (0, 0, 255)).all()
    assert (pixels[20, 20] == 255).all() and (pixels[20, 90] == 0x11).all()  # what is clear shows the page
    assert (pixels[5, 5] == 255).all() and (pixels[5, 135] == 0x11).all()
