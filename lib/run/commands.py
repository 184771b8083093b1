"""The commands `python3 -m lib train | sample | export`: what they are asked for, and who does it."""

import argparse
import shlex
import sys
from pathlib import Path

from lib.models.presets import PRESETS, TINY_HYBRID, TINY_OPENELM, TINY_RWKV
from lib.models.rwkv import Rwkv
from lib.run.checkpoint import load_bundle
from lib.run.command_line import amount, seed, setting, temperature, told, whole
from lib.run.device import DTYPES
from lib.run.recipes import BATCH_SIZE, LENGTH, RECIPES
from lib.run.sample import tell_stream
from lib.run.train_command import run
from lib.text import corpora
from lib.weights.export import export_hugging_face, export_rwkv

ROOT = Path(__file__).resolve().parents[2]
FAMILIES = ("llama", "openelm", "rwkv", "hybrid")


def main(arguments):
    """Run the command whose name comes first; return its exit code."""
    command, *arguments = arguments
    parsers = {"train": train_parser, "sample": sample_parser, "export": export_parser}
    options = parsers[command]().parse_args(arguments)
    typed = shlex.join(["python3", "-m", "lib", command, *arguments])
    calls = {
        "train": lambda: run(options, typed),
        "sample": lambda: sample_command(options),
        "export": lambda: export_command(options),
    }
    return told(command, calls[command])


def train_parser():
    """Return the parser of `train`."""
    parser = argparse.ArgumentParser(
        "python3 -m lib train", description="Train a small model, score it, save it with its tokenizer and figures."
    )
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--generation", type=int, choices=[4, 5, 6, 7], help="of rwkv (default: 7)")
    parser.add_argument("--minutes", type=amount(), default=5.0, help="for the whole command (default: 5)")
    parser.add_argument("--steps", type=whole(), help="so many steps instead: the same run again on any machine")
    parser.add_argument("--flops", type=amount(most=1e30), help="instead: as many steps as these FLOPs allow")
    parser.add_argument("--corpus", choices=corpora.names(), default="tales")
    parser.add_argument("--megabytes", type=amount(), default=42.0, help="of training text at most (default: 42)")
    parser.add_argument("--out", type=Path, help="the folder to save in (default: checkpoints/MODEL-CORPUS)")
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped in this folder")
    parser.add_argument("--half", action="store_true", help="save in float16: half the size")
    tiny = [name for name in PRESETS | TINY_OPENELM | TINY_RWKV | TINY_HYBRID if "tiny-" in name]
    parser.add_argument("--preset", choices=tiny, help="the sizes (default: the tiny ones of the family)")
    sizes = "another size than the preset's, as often as you like: --set n_layers=3 --set d_ff=512"
    parser.add_argument("--set", type=setting, action="append", default=[], metavar="NAME=VALUE", help=sizes)
    parser.add_argument("--recipe", choices=RECIPES, default="adamw", help="adamw is LLaMA's, the default")
    parser.add_argument("--learning-rate", type=amount(most=100), help="instead of the recipe's")
    parser.add_argument("--batch-size", type=whole(), default=BATCH_SIZE, help=f"rows a step (default: {BATCH_SIZE})")
    parser.add_argument("--length", type=whole(), default=LENGTH, help=f"tokens a row (default: {LENGTH})")
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--stories", type=whole(0), help="that the trained model tells, to be judged (default: 1000)")
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
    parser.add_argument("--n", type=whole(), default=1, help="so many stories (default: 1)")
    parser.add_argument("--temperature", type=temperature, default=0.8, help="0 takes the likeliest (default: 0.8)")
    parser.add_argument("--top-k", type=whole(), help="draw among so many of the likeliest tokens")
    parser.add_argument("--top-p", type=amount(most=1), help="draw among the likeliest that have this share together")
    parser.add_argument("--tokens", type=whole(), help="at most (default: until the story or the context ends)")
    parser.add_argument("--seed", type=seed, help="the same seed tells the same story")
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


def sample_command(options):
    """Stream stories to the screen."""
    folders = [ROOT / "checkpoints" / "llama-tales", corpora.DATA / "checkpoints" / "llama-tales"]
    there = [folder for folder in folders if (folder / "config.json").is_file()]
    model, tokenizer = load_bundle(options.folder or (there or folders)[0])
    chances = {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
    prompt = options.prompt.rstrip(" ")
    if prompt != options.prompt:
        reason = "it belongs to the next word, and after a blank alone the model goes on badly"
        print(f"python3 -m lib sample: the blank at the prompt's end is left out: {reason}", file=sys.stderr)
    for i in range(options.n):
        seed = None if options.seed is None else options.seed + i
        for piece in tell_stream(model, tokenizer, prompt, options.tokens, seed=seed, **chances):
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
