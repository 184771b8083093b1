"""`python3 -m lib picture`: the moving picture of the first page; or all figures of the lessons, to be looked at."""

import argparse
import base64
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
LIGHT, DARK = "#FFFFFF", "#111111"  # the pages on which a figure is looked at


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


def on_both(picture):
    """Return a picture twice, side by side: on a light page and on a dark one."""
    wide, high = picture.width + 40, picture.height + 40
    whole = Image.new("RGB", (2 * wide, high), LIGHT)
    whole.paste(DARK, (wide, 0, 2 * wide, high))
    for x in (20, wide + 20):
        whole.paste(picture, (x, 20), picture.convert("RGBA"))
    return whole


def write_all(folder, notebooks):
    """Write each figure of these notebooks into a folder, NN_cell.png, as `on_both` has it; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for file in notebooks:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        for place, cell in enumerate(cells):
            shown = [output.get("data", {}).get("image/png") for output in cell.get("outputs", [])]
            for n, data in enumerate(filter(None, shown)):
                picture = Image.open(io.BytesIO(base64.b64decode("".join(data))))
                names.append(f"{file.stem[:2]}_{place:03}{chr(97 + n)}.png")
                on_both(picture).save(folder / names[-1])
    return names


def main(argv=None, root=ROOT):
    """Write lessons/front.gif, or all figures of the lessons; return 0."""
    parser = argparse.ArgumentParser(
        prog="python3 -m lib picture",
        description="Make lessons/front.gif from the course's trained LLaMA. With --all write every figure of the "
        "solved lessons instead, each on a light page and on a dark one.",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the story (default: 1)")
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="where to write the figures of all lessons")
    args = parser.parse_args(argv)
    if args.all:
        names = write_all(args.all, sorted((root / "lessons" / "solutions").glob("*.ipynb")))
        print(f"{len(names)} figures in {args.all}, from {names[0]} on; the number behind the lesson's is the cell's")
        return 0
    pictures, story = frames(corpora.DATA / "checkpoints" / "llama-tales", args.seed)
    size = save(pictures, root / "lessons" / "front.gif")
    print(f"lessons/front.gif: {len(pictures)} frames, {size / 1e6:.2f} MB. The story:\n\n{story}")
    return 0
