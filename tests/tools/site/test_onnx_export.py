"""The steps written for the reading copy, run by onnxruntime, give the logits of the models, token by token."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lessons.tools.site import onnx_export
from lib.models.llama import Llama, LlamaConfig
from lib.models.rwkv import Rwkv, RwkvConfig

ROOT = Path(__file__).resolve().parents[3]
SIZES = {"vocab_size": 50, "n_layers": 2, "d_model": 32, "d_ff": 48}
MODELS = {
    "llama": lambda: Llama(LlamaConfig(**SIZES, n_heads=4, n_kv_heads=2, d_head=8, context_length=40)),
    "rwkv-5": lambda: Rwkv(RwkvConfig(5, **SIZES, d_head=8)),
    "rwkv-7": lambda: Rwkv(RwkvConfig(7, **SIZES, d_head=8, ranks=(4, 4, 4, 4))),
}


@pytest.mark.parametrize("name", MODELS)
def test_onnxruntime_says_what_the_model_says(name):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    with torch.no_grad():
        for weight in model.parameters():  # what begins at zero would hide a part that is lost
            weight.add_(0.2 * torch.randn_like(weight))
        ids = torch.randint(0, 50, (1, 17))
        wanted = model(ids)[0][0].numpy()
    session = onnxruntime.InferenceSession(onnx_export.export(model), providers=["CPUExecutionProvider"])
    step = onnx_export.step_of(model)
    kept = {part: start.numpy() for part, start in zip(step.names, step.start(), strict=True)}
    names = [one.name for one in session.get_outputs()]
    asked = {one.name for one in session.get_inputs()}
    assert asked == {"token", *step.names} | ({"position"} if name == "llama" else set())
    for t, token in enumerate(ids[0].tolist()):
        given = {"token": np.array([token]), "position": np.array([t]), **kept}
        came = dict(zip(names, session.run(None, {key: given[key] for key in asked}), strict=True))
        kept = {part: came[f"new_{part}"] for part in step.names}
        assert np.abs(came["logits"] - wanted[t]).max() < 1e-4 * max(1, np.abs(wanted).max()), t
    grown = kept["keys"].shape[2] if name == "llama" else None
    assert grown == (17 if name == "llama" else None)


def test_weights_are_halved_only_where_that_loses_nothing():
    import onnx
    from onnx import helper, numpy_helper

    exact = np.arange(2048, dtype=np.float32).reshape(32, 64)
    weights = {"exact": exact, "fine": exact + np.float32(1e-4), "small": exact[:1]}
    tensors = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in weights]
    outputs = [helper.make_tensor_value_info(f"{name}_out", onnx.TensorProto.FLOAT, None) for name in weights]
    model = onnx_export.halved(helper.make_model(helper.make_graph(nodes, "g", [], outputs, tensors)))
    kinds = {tensor.name: numpy_helper.to_array(tensor).dtype for tensor in model.graph.initializer}
    assert kinds == {"exact_half": np.float16, "fine": np.float32, "small": np.float32}
    session = pytest.importorskip("onnxruntime").InferenceSession(model.SerializeToString())
    for name, came in zip(weights, session.run(None, {}), strict=True):
        assert came.dtype == np.float32 and np.array_equal(came, weights[name])
