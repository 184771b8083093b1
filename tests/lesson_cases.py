"""What it means that a lesson's object equals lib's: one case for each path that a lesson tags with `builds:`.

A case is called with (theirs, ours) and raises AssertionError where they differ. `function` and `module` make cases;
for anything else write a function of your own. All numbers are random, in float64, from a fixed seed.
"""

import inspect
from copy import deepcopy

import torch

from lib.layers.attention import GroupedAttention
from lib.layers.linear_attention import linear_chunked, linear_recurrent
from lib.layers.mlp import SwiGLU
from lib.layers.norm import RMSNorm
from lib.layers.rope import rope_table
from lib.layers.shared import Shared
from lib.models.llama import LlamaConfig
from lib.models.openelm import OpenElmConfig
from lib.models.rwkv import Rwkv, RwkvConfig
from lib.run.train import Recipe
from lib.text.trie import build_trie
from lib.weights.blocks import quantise_q4_0, quantise_q8_0

TOLERANCE = 1e-6


def function(*makers):
    """Make a case of a function: each maker returns arguments; outputs and gradients of the inputs must agree."""

    def case(theirs, ours):
        for maker in makers:
            torch.manual_seed(1)
            agree(theirs, ours, maker(), ())

    return case


def module(arguments, *makers):
    """Make a case of an nn.Module: `arguments()` are the constructor's, each maker returns those of one forward."""

    def case(theirs, ours):
        torch.manual_seed(1)
        theirs, ours = theirs(*arguments()).double(), ours(*arguments()).double()
        same_random_weights(theirs, ours)
        for maker in makers:
            agree(theirs, ours, maker(), (list(theirs.parameters()), list(ours.parameters())))

    return case


def same_random_weights(theirs, ours):
    """Fill both modules with the same random weights, none left as it was; by name, or by order where names differ."""
    with torch.no_grad():
        for weight in ours.parameters():
            weight.copy_(torch.randn_like(weight) / 2)
    state, names = ours.state_dict(), list(theirs.state_dict())
    shapes = [[tuple(z.shape) for z in m.state_dict().values()] for m in (theirs, ours)]
    if sorted(names) == sorted(state):
        theirs.load_state_dict(state)
    else:
        assert shapes[0] == shapes[1], f"the lesson's weights have shapes {shapes[0]}, lib's {shapes[1]}, in this order"
        theirs.load_state_dict(dict(zip(names, state.values(), strict=True)))


def agree(theirs, ours, arguments, weights):
    """Assert that both give the same outputs and gradients on copies of the arguments; `weights` are a list of each."""
    sides = []
    for call in (theirs, ours):
        inputs, leaves = copy(arguments)
        result = call(*inputs)
        sides.append((list(result) if inspect.isgenerator(result) else result, leaves))
    outputs = list(pairs(sides[0][0], sides[1][0]))
    for a, b in outputs:
        same(a, b)
    learn = [[side[1] + list(weights[i] if weights else []), []] for i, side in enumerate(sides)]
    torch.manual_seed(2)
    for a, b in outputs:
        if isinstance(b, torch.Tensor) and b.requires_grad:
            assert a.requires_grad, "lib's output carries gradients, the lesson's does not"
            factor = torch.randn_like(b)
            learn[0][1].append((a * factor).sum())
            learn[1][1].append((b * factor).sum())
    if learn[1][1]:
        grads = [torch.autograd.grad(sum(total), leaves, materialize_grads=True) for leaves, total in learn]
        for a, b in zip(*grads, strict=True):
            same(a, b)


def same(a, b):
    """Assert that two leaves are equal: numbers within the tolerance, of the same type and shape; else exactly."""
    if isinstance(b, torch.Tensor):
        largest = b.abs().max().item() if b.is_floating_point() and b.numel() else 0
        torch.testing.assert_close(a, b, rtol=TOLERANCE, atol=TOLERANCE * max(1, largest))
    elif isinstance(b, float):
        assert abs(a - b) <= TOLERANCE * max(1, abs(b)), f"{a} and {b}"
    else:
        assert a == b, f"{a!r} and {b!r}"


def pairs(a, b):
    """Yield the leaves of two nested results side by side; of two objects, the public attributes that both have."""
    if isinstance(b, dict):
        assert a.keys() == b.keys()
        for key in b:
            yield from pairs(a[key], b[key])
    elif isinstance(b, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            yield from pairs(x, y)
    elif hasattr(b, "__dict__") and not isinstance(b, torch.Tensor):
        names = [name for name in vars(b) if name in vars(a) and not name.startswith("_")]
        assert names, f"{a} and {b} have no attribute in common"
        for name in names:
            yield from pairs(vars(a)[name], vars(b)[name])
    else:
        yield a, b


def copy(arguments):
    """Return a deep copy of the arguments, and its float tensors, which all ask for gradients."""
    leaves = []

    def deep(x):
        if isinstance(x, torch.Tensor):
            x = x.detach().clone().requires_grad_(x.is_floating_point())
            leaves.extend([x] if x.requires_grad else [])
            return x
        if isinstance(x, dict):
            return {key: deep(value) for key, value in x.items()}
        if isinstance(x, Shared):
            return Shared(*map(deep, x))
        return type(x)(map(deep, x)) if isinstance(x, list | tuple) else x

    return deep(arguments), leaves


def randn(*shape):
    return torch.randn(shape, dtype=torch.float64)


def table(T, N, offset=0):
    return rope_table(N, T, offset=offset, dtype=torch.float64)


def heads(T, S):
    # 2 sequences, 6 query heads on 3 key heads, size 10
    return randn(2, 6, T, 10), randn(2, 3, S, 10), randn(2, 3, S, 10)


def block():
    q = randn(2, 6, 4, 10)
    state = randn(2, 6, 4, 1), randn(2, 6, 4, 1).exp(), randn(2, 6, 4, 10)
    return state, (q @ randn(2, 6, 10, 5)), randn(2, 6, 5, 10)


def shared(T, N):
    return Shared(*table(T, N, 3))


def eagle(T):
    # r, k, v, log w, u, S: 2 sequences, 3 heads of size 5
    log_w = -randn(3, 1, 5).abs()
    return *(randn(2, 3, T, 5) for _ in range(3)), log_w, randn(3, 5), randn(2, 3, 5, 5)


def llama_config():
    return LlamaConfig(
        vocab_size=37, n_layers=2, d_model=24, n_heads=4, n_kv_heads=2, d_head=6, d_ff=40, context_length=16
    )


def linear(T=7):
    return randn(2, 3, T, 4), randn(2, 3, T, 4), randn(2, 3, T, 5)


def memory(B, C):
    """RWKV-4's: two sums, the lower one positive, and their top."""
    return randn(B, C), randn(B, C).exp(), randn(B, C)


def in_two_parts(arguments, x):
    """Make a case of a mixer: a text in two parts, the state carried, so that the form of the state is left open."""

    def case(theirs, ours):
        torch.manual_seed(1)
        theirs, ours = theirs(*arguments()).double(), ours(*arguments()).double()
        same_random_weights(theirs, ours)

        def two(mixer):
            def call(x):
                first, state = mixer(x[:, :3], None, Shared())
                return first, mixer(x[:, 3:], state, Shared())[0]

            return call

        agree(two(theirs), two(ours), (x(),), (list(theirs.parameters()), list(ours.parameters())))

    return case


def both(*cases):
    """Make one case of several."""

    def case(theirs, ours):
        for one in cases:
            one(theirs, ours)

    return case


def finch(T=7):
    """RWKV-6's r, k, v, the log of a decay for each token, and the bonus."""
    r, k, v = (randn(2, 3, T, 4) for _ in range(3))
    return r, k, v, -randn(2, 3, T, 4).exp(), randn(3, 4)


def goose(T=7):
    """RWKV-7's r, k, v, the log of its decay, minus the removal key, and a rate times it."""
    r, k, v = (randn(2, 3, T, 4) for _ in range(3))
    removed = torch.nn.functional.normalize(randn(2, 3, T, 4), dim=-1)
    return r, k, v, -0.6 * randn(2, 3, T, 4).sigmoid(), -removed, removed * randn(2, 3, T, 4).sigmoid()


def openelm_config():
    return OpenElmConfig(37, 24, 6, n_heads=(2, 6, 4), n_kv_heads=(1, 2, 4), d_ff=(10, 40, 26), context_length=16)


def bpe(theirs, ours):
    text = "low lower lowest, new newer newest; the lowest newt knew no lower low. " * 4
    theirs, ours = theirs.train(text, 290), ours.train(text, 290)
    assert theirs.merges == ours.merges
    for more in (text, "a newer word, Größe 한국어\n\n  two"):
        assert theirs.encode(more) == ours.encode(more)
        assert theirs.decode(ours.encode(more)) == more


def matches(data):
    return lambda: (build_trie({1: b"a", 2: b"ab", 3: b"abcd", 4: b"b"}), data)


def learning_groups(theirs, ours):
    for generation, ranks in ((4, ()), (5, ()), (6, (3, 5)), (7, (3, 5, 2, 7))):
        model = Rwkv(RwkvConfig(generation, 31, 2, 16, 24, 8, ranks, tied=generation == 5))
        sides = [
            {id(w): (bool(g["decays"]), g["rate"]) for g in groups(model) for w in g["params"]}
            for groups in (theirs, ours)
        ]
        assert sides[0] == sides[1], f"RWKV-{generation}: a parameter decays, or learns, otherwise"


def four_rules(theirs, ours):
    """Compare which of some endings each rule takes."""
    torch.manual_seed(1)
    for _ in range(20):
        texts = ["x" * n + "é" * m for n, m in torch.randint(1, 9, (4, 2)).tolist()]
        log_ps, alone = (-9 * torch.rand(2, 4)).tolist()
        assert theirs(log_ps, texts, alone) == ours(log_ps, texts, alone)


def low_rank_update(theirs, ours):
    torch.manual_seed(1)
    for linear, *more in ((torch.nn.Linear(5, 7), 3, 6.0), (torch.nn.Linear(5, 4, bias=False), 2)):
        sides = [side(deepcopy(linear), *more).double() for side in (theirs, ours)]
        assert all(not side.up.any() for side in sides), "up starts at zero"
        same_random_weights(*sides)
        agree(*sides, (randn(2, 3, 5),), [[w for w in side.parameters() if w.requires_grad] for side in sides])


CASES = {
    "lib.models.rwkv_start.learning_groups": learning_groups,
    "lib.text.bpe.BPE": bpe,
    "lib.text.bpe.join": function(
        lambda: ([1, 1, 1, 2, 1, 1], (1, 1), 9), lambda: ([2, 1, 2], (1, 2), 9), lambda: ([], (1, 2), 9)
    ),
    "lib.text.trie.longest_match": function(*map(matches, (b"abcx", b"abcd and more", b"b", b"x", b""))),
    "lib.layers.norm.rms_norm": function(
        lambda: (randn(2, 5, 7), randn(7)), lambda: (300 * randn(3, 7), randn(7), 0.1)
    ),
    "lib.layers.norm.RMSNorm": module(lambda: (7, 0.01), lambda: (randn(2, 5, 7),)),
    "lib.layers.mlp.llama_d_ff": function(lambda: (4096,), lambda: (100,), lambda: (500, 64)),
    "lib.layers.mlp.SwiGLU": module(lambda: (7, 11), lambda: (randn(2, 5, 7),)),
    "lib.layers.rope.rope_table": function(lambda: (10, 6), lambda: (8, 5, 500.0), lambda: (8, 5, 500.0, 3)),
    "lib.layers.rope.rotate_half_split": function(lambda: (randn(2, 3, 5, 8), *table(5, 8, 2))),
    "lib.layers.rope.rotate_interleaved": function(lambda: (randn(2, 3, 5, 8), *table(5, 8, 2))),
    "lib.layers.rope.to_half_split": function(lambda: (randn(24, 7), 3)),
    "lib.layers.rope.to_interleaved": function(lambda: (randn(24, 7), 3)),
    "lib.layers.mask.causal_mask": function(lambda: (5, 5), lambda: (2, 7), lambda: (4, 7, 3)),
    "lib.layers.attention.attention_weights": function(lambda: heads(5, 5)[:2], lambda: heads(2, 7)[:2]),
    "lib.layers.attention.attend": function(lambda: heads(5, 5), lambda: heads(2, 7)),
    "lib.layers.attention.GroupedAttention": module(
        lambda: (24, 6, 2, 8),
        lambda: (randn(2, 5, 24), None, shared(5, 8)),
        lambda: (randn(1, 1, 24), None, shared(1, 8)),
    ),
    "lib.layers.online_softmax.add_block": function(block),
    "lib.layers.online_softmax.attend_online": function(lambda: (*heads(5, 5), 2), lambda: (*heads(3, 70), 32)),
    "lib.layers.linear_attention.linear_attention": function(linear, lambda: linear(1)),
    "lib.layers.linear_attention.linear_recurrent": function(linear, lambda: (*linear(3), randn(2, 3, 4, 5))),
    "lib.layers.linear_attention.linear_chunked": function(
        lambda: (*linear(), None, 3), lambda: (*linear(6), randn(2, 3, 4, 5), 3), lambda: linear(70)
    ),
    "lib.layers.linear_attention.averaged": function(
        *(lambda form=form: (form, *(z.exp() for z in linear())) for form in (linear_recurrent, linear_chunked))
    ),
    "lib.layers.shift.shift": function(lambda: (randn(2, 5, 7),), lambda: (randn(2, 1, 7), randn(2, 7))),
    "lib.layers.rwkv4.wkv": function(
        lambda: (3 * randn(2, 9, 5), randn(2, 9, 5), -randn(5).exp(), randn(5)),
        lambda: (randn(2, 4, 5), randn(2, 4, 5), -randn(5).exp(), randn(5), memory(2, 5)),
    ),
    "lib.layers.rwkv4.TimeMix": in_two_parts(lambda: (6,), lambda: randn(2, 8, 6)),
    "lib.layers.rwkv4.ChannelMix": in_two_parts(lambda: (6, 11), lambda: randn(2, 8, 6)),
    "lib.layers.rwkv6.wkv": function(finch, lambda: (*finch(3), randn(2, 3, 4, 4))),
    "lib.layers.rwkv7.wkv": function(goose, lambda: (*goose(3), randn(2, 3, 4, 4))),
    "lib.layers.rwkv7.TimeMix": both(
        in_two_parts(lambda: (12, 4, (3, 5, 2, 6), True), lambda: randn(2, 8, 12)),
        module(
            lambda: (12, 4, (3, 5, 2, 6), False),
            lambda: (randn(2, 7, 12), None, Shared(first_values=randn(2, 7, 12))),
        ),
    ),
    "lib.layers.rwkv5.wkv": function(lambda: eagle(7), lambda: eagle(3)[:5]),
    "lib.layers.rwkv5.wkv_chunked": function(lambda: eagle(70), lambda: eagle(1)[:5], lambda: (*eagle(19), 4)),
    "lib.layers.rwkv5.TimeMix": module(
        lambda: (24, 8),
        lambda: (randn(2, 5, 24), None),
        lambda: (randn(2, 1, 24), (randn(2, 24), randn(2, 3, 8, 8))),
    ),
    "lib.models.skeleton.Block": module(
        lambda: (RMSNorm(24), GroupedAttention(24, 6, 2, 8), RMSNorm(24), SwiGLU(24, 11)),
        lambda: (randn(2, 5, 24), (None, None), shared(5, 8)),
    ),
    "lib.models.llama.Llama": module(lambda: (llama_config(),), lambda: (torch.randint(37, (2, 11)),)),
    "lib.models.openelm.make_divisible": function(
        *(lambda value=value: (value, 8) for value in (3, 8.8, 10, 26.5, 44, 52, 1000.0))
    ),
    "lib.models.openelm.OpenElm": module(
        lambda: (openelm_config(),), lambda: (torch.randint(37, (2, 11)),), lambda: (torch.randint(37, (1, 1)),)
    ),
    "lib.run.train.schedule": function(
        *(lambda step=step: (step, Recipe(steps=9, warmup=3, final_ratio=0.2)) for step in (0, 2, 3, 6, 8)),
        lambda: (0, Recipe(steps=4, warmup=0)),
        lambda: (4, Recipe(steps=5, warmup=5)),
    ),
    "lib.run.choices.chosen": four_rules,
    "lib.run.lora.LowRankUpdate": low_rank_update,
    "lib.run.measure.fit_power": function(
        lambda: ([1.0, 2.0, 5.0, 9.0], [3.0, 7.0, 8.0, 40.0]), lambda: ([10.0, 3.0, 700.0], [0.2, 0.3, 0.1])
    ),
    "lib.run.sample.keep_top_p": function(lambda: (randn(3, 7), 0.6), lambda: (randn(2, 4, 5), 0.01)),
    "lib.weights.blocks.dequantise_q8_0": function(lambda: (quantise_q8_0(torch.randn(5, 32)),)),
    "lib.weights.blocks.dequantise_q4_0": function(lambda: (quantise_q4_0(torch.randn(5, 32)),)),
}
