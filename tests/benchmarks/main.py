"""`python3 -m lib bench`: measure our speed beside that of our peers."""

import argparse
import importlib
import inspect
import time
from pathlib import Path

from lib.run.command_line import told
from tests.benchmarks.peers import install_peers
from tests.benchmarks.race import machine

FOLDER = Path(__file__).resolve().parent


def main(arguments):
    """Run the benchmarks that are named, or all; return the exit code."""
    parser = argparse.ArgumentParser("python3 -m lib bench", description="Measure our speed beside that of our peers.")
    named = "such as train, generate, rwkv, wkv, tokenizers (default: all, and of wkv fewer shapes)"
    parser.add_argument("names", nargs="*", help=named)
    where = "race against other packages, too: those in this folder; what it lacks is installed there"
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help=where)
    options = parser.parse_args(arguments)
    return told("bench", lambda: bench(options.names, options.peers))


def bench(names, peers):
    """Say on which machine, and run the benchmarks of those names; a package that is missing is named."""
    found = sorted(path.stem.removeprefix("bench_") for path in FOLDER.glob("bench_*.py"))
    unknown = [name for name in names if name not in found]
    if unknown:
        raise ValueError(f"no benchmark {unknown[0]!r}: there is {', '.join(found)}")
    begun = time.perf_counter()
    print(machine(), flush=True)
    if peers:
        install_peers(peers)
    for name in names or found:
        try:
            module = importlib.import_module(f"tests.benchmarks.bench_{name}")
        except ModuleNotFoundError as missing:
            print(f"{name}: not measured, the package {missing.name} is not installed\n")
            continue
        could = {"peers": peers, "brief": not names}
        module.main(**{name: could[name] for name in could.keys() & inspect.signature(module.main).parameters.keys()})
        print(flush=True)
    print(f"{(time.perf_counter() - begun) / 60:.1f} minutes in all")
    return 0
