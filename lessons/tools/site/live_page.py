"""The page of the reading copy on which the trained LLaMA and RWKV run in the visitor's browser."""

import json
import shutil
from pathlib import Path

from lessons.tools.site.npm_package import ONNXRUNTIME_WEB, unpack
from lib.run.checkpoint import load_bundle
from lib.show import theme

SITE = Path(__file__).parent
SCRIPTS = ["bpe.js", "engine.js", "live.js"]
RUNTIME = ["ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"]
MODELS = {"llama": ("llama-tales", "LLaMA"), "rwkv": ("rwkv-7-tales", "RWKV-7")}


def lay_out(source, root, cache):
    """Write the page to `source`/live.md, and what it loads to `source`/static. Raises PackageError.

    root: the course's folder; cache: the folder that keeps onnxruntime-web.
    """
    static = source / "static"
    folder = static / "live"
    unpack(ONNXRUNTIME_WEB, [f"dist/{name}" for name in RUNTIME], folder, cache)
    for name in [*SCRIPTS, "live.css"]:
        shutil.copyfile(SITE / name, folder / name)
    about = [write_model(root, folder, name, *of) for name, of in MODELS.items()]
    (folder / "models.json").write_text(json.dumps(about), encoding="utf-8")
    shutil.copyfile(root / "data/checkpoints" / MODELS["llama"][0] / "tokenizer.json", folder / "tokenizer.json")
    (source / "live.md").write_text(page(about), encoding="utf-8")


def write_model(root, folder, name, checkpoint, title):
    """Write a model's step to `folder`; return what the page has to know of it."""
    # onnx and the exporter take seconds to import, and only this needs them.
    from lessons.tools.site.onnx_export import LlamaStep, export, step_of

    model, _ = load_bundle(root / "data" / "checkpoints" / checkpoint)
    step = step_of(model)
    (folder / f"{name}.onnx").write_bytes(export(model))
    grows = isinstance(step, LlamaStep)
    config = model.config
    return {
        "id": name,
        "name": title,
        "file": f"{name}.onnx",
        "color": theme.color_of(title),
        "start": {part: list(kept.shape) for part, kept in zip(step.names, step.start(), strict=True)},
        "context": config.context_length,
        "grows": grows,
        "a_token": 2 * 4 * config.n_layers * config.n_kv_heads * config.d_head if grows else 0,
        "state": 4 * sum(kept.numel() for kept in step.start()),
        "keeps": "KV cache: the keys and values of all tokens" if grows else "State: the same size after every token",
    }


def page(about):
    """Return the page in markdown. about: what `write_model` returned of the two."""
    grows, stays = sorted(about, key=lambda one: not one["grows"])
    crossing = stays["state"] // grows["a_token"] + 1
    html = (SITE / "live.html").read_text(encoding="utf-8")
    loads = [RUNTIME[0], *SCRIPTS]
    html = f'<link rel="stylesheet" href="_static/live/live.css">\n{html}' + "".join(
        f'<script src="_static/live/{name}"></script>\n' for name in loads
    )
    text = (SITE / "live.md").read_text(encoding="utf-8").replace("{html}", html)
    numbers = {"bytes": f"{grows['a_token']:,}", "state": f"{stays['state']:,}", "crossing": str(crossing)}
    for name, number in numbers.items():
        text = text.replace(f"{{{name}}}", number)
    return text
