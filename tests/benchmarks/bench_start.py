"""How long it takes until something happens, and how much memory it needs: each measured in a process of its own."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STORY = ROOT / "data" / "checkpoints" / "llama-tales"
JOBS = {
    "import torch": "import torch",
    "our model, imported and built": """
from lib.models.llama import Llama
from lib.models.presets import preset
Llama(preset("tiny-llama").config)
""",
    "transformers' model, the same": """
from transformers import LlamaConfig, LlamaForCausalLM
LlamaForCausalLM(LlamaConfig(vocab_size=2048, hidden_size=128, intermediate_size=352, num_hidden_layers=4,
    num_attention_heads=4, max_position_embeddings=512))
""",
    "the first word of a story": f"""
from lib.run.checkpoint import load_bundle
from lib.run.sample import tell_stream
model, tokenizer = load_bundle({str(STORY)!r})
next(iter(tell_stream(model, tokenizer, "", 20, seed=0, temperature=0.8, top_k=None, top_p=None)))
""",
}
# Read from /proc, since a child inherits the parent's peak in getrusage.
PEAK = """
from pathlib import Path
status = Path("/proc/self/status")
lines = status.read_text().splitlines() if status.is_file() else []
print(*(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")))
"""


def measure(code, rounds=3):
    """Return the median seconds of a fresh Python that runs the code, and the most memory in MB (None unless Linux)."""
    times, most = [], None
    for _ in range(rounds):
        begun = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code + PEAK], cwd=ROOT, capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - begun)
        last = done.stdout.split()
        most = int(last[-1]) if last and last[-1].isdigit() else None
    return statistics.median(times), most


def main():
    """Print the table."""
    print(f"{'from a fresh Python to':42}{'s':>10}{'MB':>8}")
    for name, code in JOBS.items():
        seconds, most = measure(code)
        print(f"  {name:40}{seconds:10.2f}{'' if most is None else most:>8}", flush=True)


if __name__ == "__main__":
    main()
