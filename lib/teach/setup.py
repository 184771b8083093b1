"""What the first cell of every lesson calls, in JupyterLab, in Colab and in Kaggle."""

from pathlib import Path

from lib.teach import install, names
from lib.teach.address import address

ROOT = Path(__file__).resolve().parents[2]


def start(number):
    """Begin lesson `number` ("04"): complete what it needs, seed torch, set the figures' looks, say it all in one line.

    Raises Trouble, where something is missing and could not be installed.
    """
    added = install.complete(ROOT)
    # Imported here: what is missing is installed first, torch's neighbours among it.
    import torch

    from lib.run.device import keep_memory, pick_device
    from lib.show import theme

    torch.manual_seed(0)
    keep_memory()  # else a lesson that times a layer times how fast the system clears pages
    theme.apply()
    names.watch()
    threads = torch.get_num_threads()
    version = torch.__version__.split("+")[0]
    line = f"Lesson {number}, torch {version}, device {pick_device()}, {threads} thread{'s' * (threads != 1)}"
    if (ROOT / "pyproject.toml").is_file() and (place := address()).folder == ROOT.name:
        line += f"; the course {place.tag} is in {place.folder}"
    print(line + (f"; installed {', '.join(added)}, replaced nothing" if added else ""))
