"""`python3 -m lib picture`: make the moving picture of the first page from a trained model and its record."""

import argparse
import io
import json
import math
from pathlib import Path

from PIL import Image

from lessons.figures.lesson_00 import draw_front
from lib.run.checkpoint import load_bundle
from lib.run.sample import tell
from lib.show import theme
from lib.text import corpora

ROOT = Path(__file__).resolve().parents[2]
FRAMES, REST = 40, 12  # frames that move, and how many times as long the last one stays
MILLISECONDS, MOST = 110, 1_500_000


def frames(folder, seed):
    """Return the pictures, and what they show in words: the run that the record tells of, and a story of its model."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    curve = [(step, nats / math.log(2) / record["bytes_per_token"]) for step, nats in record["curve"]]
    model, tokenizer = load_bundle(folder)
    story = tell(model, tokenizer, temperature=0.8, seed=seed)
    drawn = [draw_front(curve, record["floor_bits_per_byte"], story, i / FRAMES) for i in range(1, FRAMES + 1)]
    return [Image.open(io.BytesIO(theme.png(figure, small=False))) for figure in drawn], story


def save(pictures, path):
    """Write the pictures as a moving one, in the colours of the last; return its bytes. ValueError: it is too big."""
    palette = pictures[-1].convert("RGB").quantize(64)
    flat = [picture.convert("RGB").quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    times = [MILLISECONDS] * (len(flat) - 1) + [MILLISECONDS * REST]
    buffer = io.BytesIO()
    flat[0].save(buffer, "GIF", save_all=True, append_images=flat[1:], duration=times, loop=0, optimize=True)
    if (size := buffer.tell()) > MOST:
        raise ValueError(f"the picture has {size:,} bytes of {MOST:,}: take fewer frames or colours")
    beside = path.with_suffix(".tmp")
    beside.write_bytes(buffer.getvalue())
    beside.replace(path)
    return size


def main(argv=None, root=ROOT):
    """Write lessons/front.gif; return 0."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lib picture", description="Make lessons/front.gif from the course's trained LLaMA."
    )
    parser.add_argument("--seed", type=int, default=1, help="of the story (default: 1)")
    seed = parser.parse_args(argv).seed
    pictures, story = frames(corpora.DATA / "checkpoints" / "llama-tales", seed)
    size = save(pictures, root / "lessons" / "front.gif")
    print(f"lessons/front.gif: {len(pictures)} frames, {size / 1e6:.2f} MB. The story:\n\n{story}")
    return 0
