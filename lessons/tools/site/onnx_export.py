"""One step of a trained model as an ONNX file, for the reading copy: a token and what was kept go in, and come out.

The step runs the model's own layers, so the file holds the arithmetic that the lessons build and nothing written for
it. LLaMA's cache grows by a token with each step; RWKV's state has one size. A browser runs both with onnxruntime-web.
"""

import contextlib
import io
import logging

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from lib.layers.kv_cache import KVCache
from lib.layers.shared import Shared
from lib.models.llama import Llama

SMALL = 1024  # numbers of a tensor below which halving it saves nothing


class GrowingCache(KVCache):
    """A KV cache that grows by putting the new behind the old: an ONNX file has no buffer to write into."""

    def append(self, keys, values):
        """Return the cache that also holds keys and values: (B, G, T, N) each."""
        return GrowingCache(torch.cat([self.keys, keys], 2), torch.cat([self.values, values], 2))


class LlamaStep(nn.Module):
    """`step(token, position, keys, values)`: logits (V,), and keys and values with one token more.

    token, position: (1,) each, whole numbers; keys, values: (L, G, S, N) each, S is 0 at the start.
    """

    names = ("keys", "values")

    def __init__(self, model):
        super().__init__()
        self.model = model
        shared = model.shared(0, model.config.context_length, model.embed.weight)
        self.register_buffer("cos", shared.whole[0])
        self.register_buffer("sin", shared.whole[1])

    def start(self):
        """Return the state before the first token: keys, values."""
        config = self.model.config
        return (torch.zeros(config.n_layers, config.n_kv_heads, 0, config.d_head),) * 2

    def example(self):
        """Return arguments for one step, after three tokens."""
        config = self.model.config
        kept = torch.randn(2, config.n_layers, config.n_kv_heads, 3, config.d_head).unbind(0)
        return torch.tensor([5]), torch.tensor([3]), *kept

    def forward(self, token, position, keys, values):
        """Return logits, keys, values."""
        x = self.model.embed(token[None])
        shared = Shared(whole=(self.cos[position], self.sin[position]))
        caches = []
        for block, k, v in zip(self.model.blocks, keys[:, None].unbind(0), values[:, None].unbind(0), strict=True):
            x, (cache, _) = block(x, (GrowingCache(k, v), None), shared)
            caches.append(cache)
        logits = self.model.head(self.model.norm(x))[0, 0]
        return logits, torch.cat([cache.keys for cache in caches]), torch.cat([cache.values for cache in caches])


class RwkvStep(nn.Module):
    """`step(token, last_time, memory, last_channels)`: logits (V,), and the state after this token.

    token: (1,), a whole number; memory: (L, H, N, N); the two others, the tokens that the mixers saw last: (L, C).
    The generations that keep a matrix a head have this state: 5, 6 and 7.
    """

    names = ("last_time", "memory", "last_channels")

    def __init__(self, model):
        super().__init__()
        self.model = model

    def start(self):
        """Return the state before the first token."""
        config = self.model.config
        L, C, N = config.n_layers, config.d_model, config.d_head
        return torch.zeros(L, C), torch.zeros(L, C // N, N, N), torch.zeros(L, C)

    def example(self):
        """Return arguments for one step."""
        return torch.tensor([5]), *map(torch.randn_like, self.start())

    def forward(self, token, last_time, memory, last_channels):
        """Return logits and the state."""
        model = self.model
        x = model.norm_embed(model.embed(token[None]))
        before = zip(last_time[:, None], memory[:, None], last_channels[:, None], strict=True)
        layers = [((last, S), other) for last, S, other in before]
        shared, after = model.shared(0, 1, x, layers), []
        for block, layer in zip(model.blocks, layers, strict=True):
            x, ((last, S), other) = block(x, layer, shared)
            after.append((last, S, other))
        return model.head(model.norm(x))[0, 0], *(torch.cat(parts) for parts in zip(*after, strict=True))


def step_of(model):
    """Return the step of a model, a module."""
    return (LlamaStep if isinstance(model, Llama) else RwkvStep)(model).eval()


def export(model):
    """Return one step of a model as the bytes of an ONNX file. Its outputs are named "logits" and "new_" + a state's.

    Weights that float16 holds exactly, as the committed ones, are kept in it: half the bytes, the same numbers.
    """
    step = step_of(model)
    grows = isinstance(step, LlamaStep)
    inputs = ["token", *(["position"] if grows else []), *step.names]
    sizes = {name: {2: "tokens"} for name in step.names} if grows else {}
    with torch.no_grad(), quiet():
        program = torch.onnx.export(
            step,
            step.example(),
            input_names=inputs,
            output_names=["logits", *(f"new_{name}" for name in step.names)],
            dynamic_shapes={name: sizes.get(name) for name in inputs} if grows else None,
            dynamo=True,
            verbose=False,
        )
    made = halved(program.model_proto)
    onnx.checker.check_model(made)
    return made.SerializeToString()


@contextlib.contextmanager
def quiet():
    """Keep back what the exporter prints of its own work; errors are raised all the same."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)


def halved(model):
    """Return an ONNX model whose large weights are float16 with a cast behind them, where that loses nothing."""
    casts, kept = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16) if values.dtype == np.float32 and values.size >= SMALL else None
        if half is None or not np.array_equal(half.astype(np.float32), values):
            kept.append(tensor)
            continue
        kept.append(numpy_helper.from_array(half, tensor.name + "_half"))
        casts.append(helper.make_node("Cast", [tensor.name + "_half"], [tensor.name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:], model.graph.value_info[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    for node in model.graph.node:
        del node.metadata_props[:]  # where in our files each step stands: as long as the weights
    return model
