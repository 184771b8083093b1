"""The commands `python3 -m lib train | sample | export | bench`: what they are asked for, and who does it."""

import argparse
import importlib
import inspect
import shlex
import sys
import time
from pathlib import Path

from lib.models.presets import PRESETS, TINY_HYBRID, TINY_RWKV
from lib.models.rwkv import Rwkv
from lib.run.checkpoint import load_bundle
from lib.run.device import DTYPES
from lib.run.recipes import BATCH_SIZE, LENGTH, RECIPES
from lib.run.sample import tell_stream
from lib.run.train_command import run
from lib.text import corpora
from lib.weights.export import export_hugging_face, export_rwkv

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ("llama", "rwkv", "hybrid")


def main(arguments):
    """Run the command whose name comes first; return its exit code."""
    command, *arguments = arguments
    parsers = {"train": train_parser, "sample": sample_parser, "export": export_parser, "bench": bench_parser}
    options = parsers[command]().parse_args(arguments)
    options.command = shlex.join(["python3", "-m", "lib", command, *arguments])
    try:
        commands = {"train": run, "sample": sample_command, "export": export_command, "bench": bench_command}
        return commands[command](options)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"python3 -m lib {command}: {error}", file=sys.stderr)
        return 1


def train_parser():
    """Return the parser of `train`."""
    parser = argparse.ArgumentParser(
        "python3 -m lib train", description="Train a small model, score it, save it with its tokenizer and figures."
    )
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--generation", type=int, choices=[4, 5, 6, 7], help="of rwkv (default: 7)")
    parser.add_argument("--minutes", type=float, default=5.0, help="for the whole command (default: 5)")
    parser.add_argument("--steps", type=int, help="so many steps instead: the same run again on any machine")
    parser.add_argument("--corpus", choices=corpora.names(), default="tales")
    parser.add_argument("--megabytes", type=float, default=42.0, help="of training text at most (default: 42)")
    parser.add_argument("--out", type=Path, help="the folder to save in (default: checkpoints/MODEL-CORPUS)")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped in this folder")
    parser.add_argument("--half", action="store_true", help="save in float16: half the size")
    tiny = [name for name in PRESETS | TINY_RWKV | TINY_HYBRID if "tiny-" in name]
    parser.add_argument("--preset", choices=tiny, help="the sizes (default: the tiny ones of the family)")
    parser.add_argument("--recipe", choices=RECIPES, default="adamw", help="adamw is LLaMA's, the default")
    parser.add_argument("--learning-rate", type=float, help="instead of the recipe's")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help=f"rows a step (default: {BATCH_SIZE})")
    parser.add_argument("--length", type=int, default=LENGTH, help=f"tokens a row (default: {LENGTH})")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", help="cuda, mps or cpu (default: the fastest)")
    parser.add_argument("--dtype", choices=["auto", *DTYPES], default="auto", help="of the matrix products")
    parser.add_argument("--compile", action="store_true", help="by torch.compile; on a CPU it takes a C++ compiler")
    shard = "under torchrun: each process holds a part of the model (FSDP2), not a copy (DDP)"
    parser.add_argument("--shard", action="store_true", help=shard)
    return parser


def sample_parser():
    """Return the parser of `sample`."""
    parser = argparse.ArgumentParser("python3 -m lib sample", description="Let a trained model tell a story.")
    parser.add_argument("folder", type=Path, nargs="?", help="what `train` saved (default: yours, else the course's)")
    parser.add_argument("--prompt", default="", help="how the story begins")
    parser.add_argument("--n", type=int, default=1, help="so many stories (default: 1)")
    parser.add_argument("--temperature", type=float, default=0.8, help="0 takes the likeliest token (default: 0.8)")
    parser.add_argument("--top-k", type=int)
    parser.add_argument("--top-p", type=float)
    parser.add_argument("--tokens", type=int, help="at most (default: until the story or the context ends)")
    parser.add_argument("--seed", type=int, help="the same seed tells the same story")
    return parser


def export_parser():
    """Return the parser of `export`."""
    parser = argparse.ArgumentParser(
        "python3 -m lib export",
        description="Write a trained model so that transformers, or the rwkv package, opens it.",
    )
    parser.add_argument("folder", type=Path, help="what `train` saved")
    parser.add_argument("--to", type=Path, required=True, help="the folder to write; an older export in it goes")
    parser.add_argument("--format", choices=["hf", "rwkv"], help="hf for transformers (default: what fits the model)")
    return parser


def bench_parser():
    """Return the parser of `bench`."""
    parser = argparse.ArgumentParser("python3 -m lib bench", description="Measure our speed beside that of our peers.")
    named = "such as train, generate, rwkv, wkv, tokenizers (default: all, and of wkv fewer shapes)"
    parser.add_argument("names", nargs="*", help=named)
    where = "race against other packages, too: those in this folder; what it lacks is installed there"
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help=where)
    return parser


def sample_command(options):
    """Stream stories to the screen."""
    folders = [ROOT / "checkpoints" / "llama-tales", corpora.DATA / "checkpoints" / "llama-tales"]
    there = [folder for folder in folders if (folder / "config.json").is_file()]
    model, tokenizer = load_bundle(options.folder or (there or folders)[0])
    chances = {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
    for i in range(options.n):
        seed = None if options.seed is None else options.seed + i
        for piece in tell_stream(model, tokenizer, options.prompt, options.tokens, seed=seed, **chances):
            print(piece, end="", flush=True)
        print("\n" if i == options.n - 1 else "\n\n---\n")
    return 0


def export_command(options):
    """Write a trained model for published code, and say how that opens it."""
    model, tokenizer = load_bundle(options.folder)
    if (options.format or ("rwkv" if isinstance(model, Rwkv) else "hf")) == "rwkv":
        export_rwkv(options.to, model, tokenizer)
        flag = "with RWKV_V7_ON=1 in the environment, " if model.config.generation == 7 else ""
        opens = f'{flag}rwkv.model.RWKV(model={str(options.to / "model")!r}, strategy="cpu fp32")'
    else:
        export_hugging_face(options.to, model, tokenizer)
        opens = f"transformers.AutoModelForCausalLM and AutoTokenizer .from_pretrained({str(options.to)!r})"
    print(f"{options.to} is written. To open it: {opens}")
    return 0


def bench_command(options):
    """Say on which machine, and run the benchmarks of those names; a package that is missing is named."""
    found = sorted(path.stem.removeprefix("bench_") for path in (ROOT / "tests" / "benchmarks").glob("bench_*.py"))
    unknown = [name for name in options.names if name not in found]
    if unknown:
        raise ValueError(f"no benchmark {unknown[0]!r}: there is {', '.join(found)}")
    begun = time.perf_counter()
    print(importlib.import_module("tests.benchmarks.race").machine(), flush=True)
    if options.peers:
        importlib.import_module("tests.benchmarks.peers").install_peers(options.peers)
    for name in options.names or found:
        try:
            bench = importlib.import_module(f"tests.benchmarks.bench_{name}")
        except ModuleNotFoundError as missing:
            print(f"{name}: not measured, the package {missing.name} is not installed\n")
            continue
        could = {"peers": options.peers, "brief": not options.names}
        bench.main(**{name: could[name] for name in could.keys() & inspect.signature(bench.main).parameters.keys()})
        print(flush=True)
    print(f"{(time.perf_counter() - begun) / 60:.1f} minutes in all")
    return 0
