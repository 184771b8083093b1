"""Every comment like `# (B, H, T, N)` at the end of a line is run, and is true. How: see shape_comments.

A new layer or model needs a driver below: a function that calls it on tiny inputs, and the sizes that it uses, all
different, so that no two letters can be taken for each other.
"""

import pytest
import torch
from architecture import files
from shape_comments import Run, comments, instrumented, load, shapes_in

SIZES = {"B": 3, "C": 40, "H": 6, "G": 2, "N": 8, "F": 52, "V": 61}
B, C, H, G, N, F, V = SIZES.values()
# RWKV's heads share the channels among them: C = H N.
RWKV_SIZES = {**SIZES, "C": 48}
DRIVERS = {}


def driver(function, sizes=SIZES):
    """Register a function that runs some of lib; its comments are judged by the sizes, and T and S by the call."""
    DRIVERS[function.__name__] = function, sizes
    return function


def rwkv_driver(function):
    """Register a function whose comments are judged by RWKV_SIZES."""
    return driver(function, RWKV_SIZES)


@driver
def norm():
    from lib.layers import fast
    from lib.layers.norm import RMSNorm, rms_norm

    RMSNorm(C)(torch.randn(B, 5, C)).sum().backward()
    for form in (rms_norm, fast.rms_norm):
        with torch.no_grad():
            form(torch.randn(C), torch.ones(C))


@driver
def mlp():
    from lib.layers.mlp import SwiGLU

    SwiGLU(C, F)(torch.randn(B, 5, C))


@driver
def rope():
    from lib.layers import fast
    from lib.layers import rope as ours

    table = ours.rope_table(N, 5, offset=2)
    ours.rotate_half_split(torch.randn(B, H, 5, N), *table)
    ours.rotate_interleaved(torch.randn(B, H, 5, N), *table)
    fast.rotate_whole(torch.randn(B, H, 5, N), *fast.whole_table(*table))
    weight = torch.randn(H * N, C)
    ours.to_interleaved(ours.to_half_split(weight, H), H)


@driver
def attention():
    from lib.layers import attention as ours
    from lib.layers.fast import attend_fused
    from lib.layers.rope import rope_table
    from lib.layers.shared import Shared

    q, k, v = torch.randn(B, H, 5, N), torch.randn(B, G, 9, N), torch.randn(B, G, 9, N)
    for window in (None, 3):
        ours.attend(q, k, v, window)
        attend_fused(q, k, v, window)
        attend_fused(*(z.bfloat16().requires_grad_() for z in (q, k, v)), window)
    mixer, state = ours.GroupedAttention(C, H, G, N), None
    for T, offset in ((7, 0), (1, 7), (5, 8)):
        cos, sin = rope_table(N, T, offset=offset)
        with torch.no_grad():
            _, state = mixer(torch.randn(B, T, C), state, Shared(cos, sin))


@driver
def online_softmax():
    from lib.layers.online_softmax import attend_online

    attend_online(torch.randn(B, H, 5, N), torch.randn(B, G, 9, N), torch.randn(B, G, 9, N), block=4, window=3)


def tiny_llama():
    from lib.models.llama import Llama, LlamaConfig

    sizes = {"vocab_size": V, "n_layers": 2, "d_model": C, "n_heads": H, "n_kv_heads": G, "d_head": N, "d_ff": F}
    return Llama(LlamaConfig(**sizes, context_length=37))


@driver
def llama():
    from lib.models.skeleton import head_from_embedding

    model = tiny_llama()
    head_from_embedding(model)
    _, state = model(torch.randint(0, V, (B, 7)))
    model(torch.randint(0, V, (B, 5)), state)


@driver
def loss():
    from lib.run.loss import next_token_loss

    model = tiny_llama()
    tokens = torch.randint(0, V, (B, 7))
    next_token_loss(model, tokens, tokens)
    with torch.no_grad():
        next_token_loss(model, tokens, tokens)


@driver
def tuning():
    from lib.run.tune import AnswerLoss, make_room
    from lib.text.bpe import BPE

    tokens = torch.randint(0, V, (B, 7))
    AnswerLoss(tiny_llama())(tokens, tokens)
    make_room(tiny_llama(), BPE([]))


def preferring():
    from lib.run.tune import PreferenceLoss

    tokens = torch.randint(0, V, (4, 7))
    PreferenceLoss(tiny_llama(), tiny_llama())(tokens, tokens)


driver(preferring, {**SIZES, "B": 4})


@driver
def muon():
    from lib.run.optimizer import orthogonalise

    orthogonalise(torch.randn(5, 11, 13))


@driver
def openelm():
    from lib.models.openelm import OpenElm, OpenElmConfig

    model = OpenElm(OpenElmConfig(V, C, N, n_heads=(H, H), n_kv_heads=(G, G), d_ff=(F, F), context_length=37))
    model(torch.randint(0, V, (B, 7)))


@rwkv_driver
def linear_attention():
    from lib.layers import linear_attention as ours

    q, k, v = torch.rand(B, H, 18, N), torch.rand(B, H, 18, N), torch.rand(B, H, 18, N + 1)
    for form in (ours.linear_attention, ours.linear_recurrent, ours.linear_chunked):
        ours.averaged(form, q, k, v)
    _, state = ours.linear_recurrent(q, k, v)
    ours.linear_chunked(q, k, v, state, chunk=4)


@rwkv_driver
def rwkv_forms():
    from lib.layers import rwkv4, rwkv5, rwkv7

    r, k, v, a = (torch.randn(B, H, 18, N) for _ in range(4))
    for form in (rwkv4.wkv, rwkv4.wkv_chunked):
        chunk = {"chunk": 4} if form is rwkv4.wkv_chunked else {}
        flat, row = torch.randn(B, 18, 48), torch.randn(48)
        form(flat, flat, -row.exp(), row, **chunk)
        form(flat, flat, -row.exp(), row, form(flat, flat, -row.exp(), row)[1])
    for log_w in (torch.zeros(H, 1, N), torch.zeros(B, H, 18, N)):
        rwkv5.wkv(r, k, v, log_w, torch.zeros(H, N))
        rwkv5.wkv_chunked(r, k, v, log_w, torch.zeros(H, N), chunk=4)
    rwkv7.wkv(r, k, v, log_w, a, a)
    rwkv7.wkv_chunked(r, k, v, log_w, a, a, chunk=4)


@rwkv_driver
def rwkv_models():
    from lib.models.rwkv import Rwkv, RwkvConfig

    sizes = {"vocab_size": V, "n_layers": 2, "d_model": RWKV_SIZES["C"], "d_ff": F, "d_head": N}
    for generation, ranks in ((4, ()), (5, ()), (6, (4, 10)), (7, (4, 10, 12, 14))):
        model = Rwkv(RwkvConfig(generation, **sizes, ranks=ranks))
        _, state = model(torch.randint(0, V, (B, 7)))
        model(torch.randint(0, V, (B, 1)), state)


def hybrid_driver(function):
    """Register a function in which values are as wide as keys: D, which linear attention leaves open, is N."""
    return driver(function, {**RWKV_SIZES, "D": N})


@hybrid_driver
def hybrids():
    from lib.models.hybrid import MIXERS, Hybrid, HybridConfig

    model = Hybrid(HybridConfig(V, MIXERS, RWKV_SIZES["C"], F, N, n_kv_heads=G, context_length=37, rank=5))
    _, state = model(torch.randint(0, V, (B, 7)))
    model(torch.randint(0, V, (B, 1)), state)


@driver
def running():
    from lib.run.evaluate import evaluate, padded
    from lib.run.sample import sample
    from lib.run.train import Recipe, train
    from lib.text.batches import WindowBatches

    model, batches = tiny_llama(), WindowBatches(torch.randint(0, V, (90,)), B, 7)
    list(train(model, batches, Recipe(steps=1), device="cpu", dtype="float32"))
    list(sample(model, torch.randint(0, V, (B, 5)), 9, top_k=4))
    evaluate(model, batches, n_batches=1)
    padded([[1, 2], [3, 4, 5], [6, 7, 8, 9, 10, 11]])


COMMENTS = [comment for module, source in files().items() for comment in comments(module, source)]


@pytest.fixture(scope="module")
def runs():
    """Run all drivers once, on an instrumented copy of lib, and return what each saw."""
    torch.manual_seed(0)
    now, done = [None], {}
    with instrumented("lib", now):
        for name, (function, sizes) in DRIVERS.items():
            done[name] = now[0] = Run(sizes)
            function()
    return done


@pytest.mark.parametrize("comment", COMMENTS, ids=lambda c: f"{c.module}:{c.line}")
def test_comment_is_true(comment, runs):
    where = comment.module, comment.line
    assert any(where in run.seen for run in runs.values()), "no driver runs this line: add to the drivers above"
    wrong = {name: run.wrong()[where] for name, run in runs.items() if where in run.wrong()}
    assert not wrong, wrong


def test_there_are_comments_in_every_layer_that_changes_shapes():
    modules = {comment.module for comment in COMMENTS}
    assert {"lib.layers.norm", "lib.layers.mlp", "lib.layers.rope", "lib.layers.attention"} <= modules
    assert {"lib.layers.linear_attention", *(f"lib.layers.rwkv{i}" for i in (4, 5, 6, 7))} <= modules


def test_the_run_leaves_the_library_as_it_was(runs):
    import lib.layers.norm

    assert not hasattr(lib.layers.norm, "_see")


def judge(source, call, sizes=None):
    """Run a snippet with comments; return the lines seen and {line: what is wrong}."""
    run, namespace = Run(sizes), {"torch": torch}
    load("snippet", source, namespace, lambda: run)
    eval(call, namespace)
    return {line for _, line in run.seen}, {line: text for (_, line), text in run.wrong().items()}


TRUE = """
def f(x, w):
    '''A docstring stays one.'''
    B, T, C = x.shape
    y = x @ w  # (B, T, F)
    a, b = y.chunk(2, -1)  # (B, T, F/2), in halves
    c = [z.transpose(1, 2) for z in (a, b)]  # (B, F/2, T)
    for row in y.unbind(1):  # (B, F)
        row += 1
    d = {
        "half": a + 1,  # (B, T, F/2)
    }
    e = (
        y.view(B, T, 2, -1)  # (B, T, 2, N)
        .transpose(1, 2)  # (B, 2, T, N)
        .reshape(B, -1)  # (B, 2*T*N)
    )
    g = y.flatten(0, 1) # (B*T, F)
    # (Q, Q, Q) on a line of its own describes nothing
    return y, y.mT  # (B, T, F), (..., F, T)
"""


def test_true_comments_pass():
    seen, wrong = judge(TRUE, "f(torch.ones(3, 5, 4), torch.ones(4, 6))")
    assert wrong == {} and seen == {5, 6, 7, 8, 11, 14, 15, 16, 18, 20}


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (5, ("(B, T, F)", "(B, F, T)")),
        (5, ("(B, T, F)", "(B, T, C)")),
        (5, ("(B, T, F)", "(B, T)")),
        (5, ("(B, T, F)", "(..., B, T, F, F)")),
        (6, ("F/2), in", "F/3), in")),
        (6, ("F/2), in", "F), in")),
        (7, ("(B, F/2, T)", "(B, T, F/2)")),
        (8, ("# (B, F)", "# (B, T)")),
        (11, ("# (B, T, F/2)\n    }", "# (T, B, F/2)\n    }")),
        (14, ("(B, T, 2, N)", "(B, T, 3, N)")),
        (15, ("(B, 2, T, N)", "(B, T, 2, N)")),
        (16, ("(B, 2*T*N)", "(B, 3*T*N)")),
        (18, ("(B*T, F)", "(B*F, T)")),
        (20, ("(..., F, T)", "(..., T, F)")),
        (20, ("(..., F, T)", "(..., F, T), (B, T)")),
    ],
)
def test_a_false_comment_is_seen(line, change):
    assert change[0] in TRUE
    _, wrong = judge(TRUE.replace(*change, 1), "f(torch.ones(3, 5, 4), torch.ones(4, 6))")
    assert line in wrong


def test_a_letter_that_the_test_has_fixed_is_not_free():
    source = "def f(x):\n    y = x * 1  # (B, T, C)\n"
    assert judge(source, "f(torch.ones(3, 5, 52))")[1] == {}
    assert 2 in judge(source, "f(torch.ones(3, 5, 52))", {"C": 40})[1]
    assert "so is F" in judge(source, "f(torch.ones(3, 5, 52))", {"F": 52})[1][2]


def test_calls_do_not_share_letters_and_nested_functions_have_their_own():
    source = """
def f(x):
    y = x * 1  # (B, T)
    def g(z):
        z = z * 1  # (T, B)
        return z
    return g(y)
"""
    assert judge(source, "[f(torch.ones(3, 5)), f(torch.ones(2, 7))]")[1] == {}


def test_a_letter_may_change_from_one_turn_of_a_loop_to_the_next():
    source = """
def f(x):
    for T in range(1, 3):
        y = x[:, :T]  # (B, T)
    for t in range(1, 3):
        y = x[:, :t]  # (B, S)
        z = y.mT  # (S, B)
    return x  # (B, C)
"""
    assert judge(source, "f(torch.ones(3, 5))")[1] == {}
    assert 7 in judge(source.replace("(S, B)", "(S, S)"), "f(torch.ones(3, 5))")[1]


def test_two_unknown_letters_are_decided_later_or_reported():
    source = "def f(x):\n    y = x.flatten()  # (G*N,)\n    z = x * 1  # (G, N)\n"
    assert judge(source, "f(torch.ones(3, 5))")[1] == {}
    assert "more than one" in judge(source.split("    z")[0], "f(torch.ones(3, 5))")[1][2]
    assert judge(source.replace("(G, N)", "(N + 1, G)"), "f(torch.ones(3, 5))")[1]


def test_a_comment_on_what_is_no_tensor_or_never_runs_is_seen():
    assert 2 in judge("def f():\n    y = 3  # (B, T)\n", "f()")[1]
    seen, _ = judge("def f(x):\n    if x:\n        y = torch.ones(2, 3)  # (B, T)\n", "f(0)")
    assert seen == set()


def test_what_counts_as_a_shape():
    assert shapes_in("# (B, T), (T,) and (B, N/2): text (V, V)") == (("B", "T"), ("T",), ("B", "N/2"))
    assert shapes_in("# angles: (T, N/2)") == (("T", "N/2"),)
    for text in ("# (B) alone", "# see (section 3, eq. 4)", "# (2, 3)", "# f(x, y)", "# (a, b)", "# none"):
        assert shapes_in(text) == ()
