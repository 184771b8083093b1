"""What the first cell of every lesson needs."""

# The one set-up cell of all lessons. Where the course is not found above the notebook, a sentence says what to do.
SETUP_CELL = """\
import sys
from pathlib import Path

found = sys.path[:0] = [str(p) for p in Path("_").absolute().parents if (p / "lib/teach/setup.py").is_file()]
assert found, "The course's folder lib is not here or above: open this notebook inside the course's folder."
from lib.teach.setup import start

start("{number}")"""


def setup_cell(number):
    """Return the set-up cell of lesson `number`, two digits."""
    return SETUP_CELL.replace("{number}", number)


def start(number):
    """Begin lesson `number` ("04"): seed torch, set the figures' looks, and say in one line what the lesson runs on."""
    # Imported here: whoever builds notebooks needs the cell's text alone, and torch takes seconds.
    import torch

    from lib.run.device import pick_device
    from lib.teach import theme

    torch.manual_seed(0)
    theme.apply()
    threads = torch.get_num_threads()
    version = torch.__version__.split("+")[0]
    print(f"Lesson {number}, torch {version}, device {pick_device()}, {threads} thread{'s' * (threads != 1)}")
