"""`python3 -m lib gpu-check`: what the course does on a CUDA device, in less than eight minutes, kept as a record.

The parts of gpu_parts.py run one after the other, each in a process of its own with a limit of time. The record is
written after each, so that a run which is stopped keeps what it has; the next call does the parts that are not whole.
lessons/MEASURED.md says what the course's own record says.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from lessons.tools.notebook import write_text
from lib.run.command_line import told
from lib.weights.files import write_json
from lib.weights.places import refuse_place
from tests.benchmarks.gpu_parts import PARTS

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "data" / "records" / "gpu.json"
START = (sys.executable, "-m", "tests.benchmarks.gpu_parts")
ASK_DRIVER = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
BEGIN, END = "<!-- a GPU: python3 -m lib gpu-check -->", "<!-- end of what a GPU does -->"


def main(argv=None):
    """Run the parts that the record lacks; return 0, 1 where one is not whole, 2 where there is no such device."""
    parser = argparse.ArgumentParser(
        "python3 -m lib gpu-check",
        description="Test and measure the course on a CUDA device, in less than eight minutes; keep the record.",
    )
    parser.add_argument("--out", type=Path, default=RECORD, help="the record (default: the course's own)")
    parser.add_argument("--again", action="store_true", help="measure all parts anew, the whole ones too")
    parser.add_argument("--peers", type=Path, help="the folder of `bench --peers`, for races against those, too")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="cpu only tries it, with --small")
    parser.add_argument("--small", action="store_true", help="tiny sizes: figures that mean nothing, in a minute")
    options = parser.parse_args(argv)
    if options.device == "cpu" and not (options.small and options.out != RECORD):
        parser.error("--device cpu only tries the command: give it --small, and another --out than the course's record")
    if options.device == "cuda" and not torch.cuda.is_available():
        told_none = "there is no CUDA device here, or this PyTorch is built without CUDA: nothing was measured"
        print(f"python3 -m lib gpu-check: {told_none}", file=sys.stderr)
        return 2
    return told("gpu-check", lambda: check(options))


def check(options, parts=PARTS):
    """Run the parts one by one, with the record written after each; return the exit code."""
    refuse_place(options.out)
    record = {"command": command_of(options), "machine": machine(options.device), "small": options.small, "parts": {}}
    if options.out.is_file() and not options.again:
        record["parts"] = kept_parts(options.out, record)
    for name in parts:
        if record["parts"].get(name, {}).get("ended") == "whole":
            print(f"{name}: kept from the last call", flush=True)
            continue
        print(f"{name}: at most {parts[name][1]} s", flush=True)
        record["parts"][name] = run_part(name, parts[name][1], options)
        write_json(options.out, record)
        print(f"{name}: {record['parts'][name]['ended']}", flush=True)
    if options.out.resolve() == RECORD:
        write_page(ROOT / "lessons" / "MEASURED.md", record)
    cut = [name for name in parts if record["parts"][name]["ended"] != "whole"]
    print(f"{options.out} is written" + (f"; not whole: {', '.join(cut)}. Call again for these." if cut else ""))
    return 1 if cut else 0


def command_of(options):
    """Return the command that makes such a record."""
    return "python3 -m lib gpu-check" + " --device cpu" * (options.device == "cpu") + " --small" * options.small


def kept_parts(path, record):
    """Return the parts of the record that is there; ValueError where it is none, or of another machine or size."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        same, parts = all(kept[name] == record[name] for name in ("machine", "small")), dict(kept["parts"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is no record of gpu-check: delete it, or choose another --out") from None
    if not same:
        raise ValueError(
            f"{path} is of another machine, other versions or other sizes: choose another --out, or --again"
        )
    return parts


def machine(device):
    """Return what the figures depend on: the device, its driver, the versions."""
    about = {"device": platform.processor() or platform.machine(), "driver": None, "cuda": None}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        about = {
            "device": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "driver": driver(),
            "cuda": torch.version.cuda,
        }
    return about | {"torch": torch.__version__, "python": platform.python_version(), "system": platform.system()}


def driver(ask=ASK_DRIVER):
    """Return the version of NVIDIA's driver, None where nvidia-smi does not say it."""
    if shutil.which(ask[0]) is None:
        return None
    done = subprocess.run(ask, capture_output=True, text=True, check=False)
    return done.stdout.split("\n")[0].strip() or None if done.returncode == 0 else None


def run_part(name, limit, options, start=START):
    """Run a part in a process of its own; return how it ended, its seconds, and the figures that it told by then."""
    command = [*start, name, "--device", options.device]
    command += ["--small"] * options.small + (["--peers", str(options.peers)] if options.peers else [])
    begun = time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:  # not a pipe: what was told before a stop is there
        try:
            code = subprocess.run(command, cwd=ROOT, stdout=said, timeout=limit, check=False).returncode
            ended = "whole" if code == 0 else f"failed, with code {code}"
        except subprocess.TimeoutExpired:
            ended = f"stopped after {limit} s"
        said.seek(0)
        rows = [json.loads(line) for line in said if line.startswith("{") and line.endswith("}\n")]
    return {"ended": ended, "seconds": round(time.perf_counter() - begun, 1), "figures": rows}


def page(record):
    """Return what lessons/MEASURED.md says of the record, in Markdown; nothing without one."""
    if record is None:
        return ""
    about = record["machine"]
    lines = [
        "## On a GPU",
        "",
        f"`{record['command']}` on: {about['device']}, {about['memory_gib']} GiB, driver {about['driver']}, torch "
        f"{about['torch']}. A ratio above 1 means that ours is faster; the middle half of all rounds stands beside it.",
        "",
        "| under these conditions | | | ratio |",
        "|---|---|---|---|",
    ]
    for part in record["parts"].values():
        for row in part["figures"]:
            low, high = row.get("middle_half", (None, None))
            ratio = f"{row['ratio']:g} ({low:g} to {high:g})" if "ratio" in row else ""
            lines.append(f"| {row['conditions']} | {row['name']} | {row['value']:,} {row['unit']} | {ratio} |")
    cut = [f"{name} {part['ended']}" for name, part in record["parts"].items() if part["ended"] != "whole"]
    return "\n".join(lines + (["", f"Not whole: {'; '.join(cut)}."] if cut else []))


def with_page(text, record):
    """Return the text of lessons/MEASURED.md with this record between its two marks."""
    head, rest = text.split(BEGIN, 1)
    middle = page(record)
    return f"{head}{BEGIN}\n" + (f"\n{middle}\n\n" if middle else "") + END + rest.split(END, 1)[1]


def write_page(path, record):
    """Write it there."""
    write_text(path, with_page(path.read_text(encoding="utf-8"), record))
