"""The checks of lesson 21, weights in files."""

import torch

from lessons.checker.check import Checks
from lessons.exercises.lesson_21_wrong import SIZE, WRONG_SIZES
from lib.layers.rope import to_half_split, to_interleaved
from lib.models.llama import LlamaConfig
from lib.weights.blocks import as_float, dequantise_q4_0, dequantise_q8_0, quantise_q4_0, quantise_q8_0

checks = Checks("21")
check = checks.check


def inventory(found, expected, tied=False):
    """Return the names that a file lacks, has too many, and has in another shape: three sorted lists."""
    optional = {"lm_head.weight"} if tied else set()
    missing = sorted(expected.keys() - found.keys() - optional)
    unexpected = sorted(found.keys() - expected.keys())
    misshapen = sorted(name for name in found.keys() & expected.keys() if tuple(found[name]) != tuple(expected[name]))
    return missing, unexpected, misshapen


FILE = {"embed": (9, 4), "layer.0.q": (4, 4), "layer.1.q": (4, 4), "norm": (4,), "lm_head.weight": (9, 4)}


def without(*names):
    """Return FILE without some names."""
    return {name: shape for name, shape in FILE.items() if name not in names}


def answer(change):
    """Return an answer that changes the three lists: change(missing, unexpected, misshapen, *what was given)."""
    return lambda found, expected, tied=False: change(*inventory(found, expected, tied), found, expected, tied)


@checks.exercise("21.1", inventory, points=3)
def names(e):
    """What is left over, on both sides, and what has another shape."""
    for name, found in {
        "all is there": FILE, "two are missing": without("norm", "layer.0.q"), "an empty file": {},
        "two too many": {**FILE, "rotary.inv_freq": (2,), "bias": (4,)}, "one more axis": {**FILE, "norm": (1, 4)},
        "turned by a quarter": {**FILE, "embed": (4, 9)}, "a shape of the same size": {**FILE, "layer.1.q": (2, 8)},
    }.items():  # fmt: skip
        e.case(name, found, FILE)
    e.case("all at once", {**without("norm"), "bias": (4,), "embed": (9, 5), "layer.1.q": (8, 4)}, FILE)
    e.case("tied, no head in the file", without("lm_head.weight"), FILE, True)
    e.case("tied, and the head is there", FILE, FILE, True)
    e.case("tied, and its shape is wrong", {**FILE, "lm_head.weight": (8, 4)}, FILE, True)
    e.case("not tied, no head in the file", without("lm_head.weight"), FILE)
    e.case("tied, a head that the model does not list", FILE, without("lm_head.weight"), True)

    e.mistake("missing and unexpected are swapped: missing is what the model has and the file has not.",
              answer(lambda m, u, s, f, x, t: (u, m, s)))  # fmt: skip
    e.mistake("a tied head may be missing: it is the embedding.",
              lambda found, expected, tied=False: inventory(found, expected))  # fmt: skip
    e.mistake("a head may be missing only where it is tied.",
              lambda found, expected, tied=False: inventory(found, expected, True))  # fmt: skip
    e.mistake("a tied head that is there must still have the right shape.",
              answer(lambda m, u, s, f, x, t: (m, u, [n for n in s if not (t and n == "lm_head.weight")])))  # fmt: skip
    e.mistake("the lists are not sorted by name.", answer(lambda m, u, s, f, x, t: (m[::-1], u[::-1], s[::-1])))
    e.mistake("shapes are not compared.", answer(lambda m, u, s, f, x, t: (m, u, [])))
    e.mistake("the number of values is compared: (2, 8) and (4, 4) hold as many. Compare the shapes themselves.",
              answer(lambda m, u, s, f, x, t: (m, u, [n for n in s if _size(f[n]) != _size(x[n])])))  # fmt: skip
    e.mistake("only missing names are reported.", answer(lambda m, u, s, f, x, t: (m, [], [])))
    e.mistake("it stops at the first of each kind: report all.", answer(lambda m, u, s, f, x, t: (m[:1], u[:1], s[:1])))
    e.mistake("names of another shape count as missing, too.", answer(lambda m, u, s, f, x, t: (sorted(m + s), u, s)))
    e.mistake("names in the order of the file or the model: sort each list.", answer(lambda m, u, s, f, x, t: (
        [n for n in x if n in m], [n for n in f if n in u], [n for n in f if n in s])))  # fmt: skip
    e.mistake("a name that is too many has no shape to compare with: look only at names in both.",
              lambda found, expected, tied=False: (*inventory(found, expected, tied)[:2],
                                                   sorted(n for n in found if found[n] != expected[n])))  # fmt: skip
    e.mistake("only the number of axes is compared: compare the shapes themselves.", answer(
        lambda m, u, s, f, x, t: (m, u, [n for n in s if len(f[n]) != len(x[n])])))  # fmt: skip
    e.mistake("the head may be missing where it is tied, not where it is not: the other way round.",
              lambda found, expected, tied=False: inventory(found, expected, not tied))  # fmt: skip
    e.mistake("one list: return three, missing, unexpected, of another shape.", answer(
        lambda m, u, s, f, x, t: m + u + s))  # fmt: skip
    e.mistake("the third list holds names alone, without their shapes.", answer(
        lambda m, u, s, f, x, t: (m, u, [(n, f[n], x[n]) for n in s])))  # fmt: skip
    e.mistake("the third list holds names alone, without a shape.", answer(
        lambda m, u, s, f, x, t: (m, u, [(n, f[n]) for n in s])))  # fmt: skip
    e.mistake("the head is taken off the missing names where it is not among them: take it off the expected ones.",
              _removed)  # fmt: skip
    e.mistake("a tied head may be left out. One that the model does not list is still too many.", answer(
        lambda m, u, s, f, x, t: (m, [n for n in u if not (t and n == "lm_head.weight")], s)))  # fmt: skip
    e.mistake("these are sets: return three sorted lists.", answer(lambda m, u, s, f, x, t: (set(m), set(u), set(s))))


def _removed(found, expected, tied=False):
    missing, unexpected, misshapen = inventory(found, expected)
    if tied:
        set(missing).remove("lm_head.weight")
    return [n for n in missing if not (tied and n == "lm_head.weight")], unexpected, misshapen


def _size(shape):
    return torch.Size(shape).numel()


def block_cases(e, quantise):
    """Add the cases that both formats share."""
    e.case("three blocks", quantise(e.randn(3, 32)))
    e.case("one block", quantise(e.randn(1, 32)))
    e.case("small weights", quantise(1e-3 * e.randn(4, 32)))
    e.case("a block of zeros", quantise(torch.zeros(2, 32)))
    e.case("one large weight", quantise(torch.cat([20 * torch.ones(2, 1), e.randn(2, 31)], dim=1)))
    e.case("a slope", quantise(torch.arange(64.0).view(2, 32) - 31))


def by_parts(q, scale=lambda raw: as_float(raw[:, :2])):
    """Return a dequantiser from its two parts: bytes -> q (n, 32); bytes -> scale (n, 1)."""
    return lambda raw: scale(raw) * q(raw)


def signed(raw):
    """Return the signed bytes of Q8_0."""
    return raw[:, 2:].contiguous().view(torch.int8).float()


def halves(raw):
    """Return the low and the high half of the bytes of Q4_0, each (n, 16)."""
    return raw[:, 2:].int() & 15, raw[:, 2:].int() >> 4


def joined(raw, low_first=True):
    """Return the 32 numbers of Q4_0 less 8."""
    low, high = halves(raw)
    return torch.cat([low, high] if low_first else [high, low], dim=-1).float() - 8


WRONG_SCALES = {
    "the scale is left out.": lambda raw: torch.ones(len(raw), 1),
    "the weights are divided by the scale: multiply.": lambda raw: 1 / as_float(raw[:, :2]).clamp(min=1e-9),
    "all blocks get the scale of the first. Each has its own.": lambda raw: as_float(raw[:1, :2]),
    "the scale's two bytes are swapped: the low one comes first, as the machine has it.": lambda raw: as_float(
        raw[:, :2].flip(-1)
    ),
    "the scale is read as bfloat16. It is float16: both take two bytes.": lambda raw: (
        raw[:, :2].contiguous().view(torch.bfloat16).float()
    ),
    "the scale is read from the end of the block: it comes first.": lambda raw: as_float(raw[:, -2:]),
    "the scale is read as a whole number of 16 bits. It is a float16.": lambda raw: (
        raw[:, :2].contiguous().view(torch.int16).float()
    ),
}


@checks.exercise("21.2", dequantise_q8_0, points=3, dtypes=(), gradients=False)
def q8(e):
    """Eight bits and a scale."""
    block_cases(e, quantise_q8_0)
    e.mistake("the bytes are signed: 255 stands for -1. `.view(torch.int8)`.", by_parts(lambda raw: raw[:, 2:].float()))
    e.mistake("128 is subtracted. The bytes are signed as they stand: `.view(torch.int8)`.",
              by_parts(lambda raw: raw[:, 2:].float() - 128))  # fmt: skip
    for hint, scale in WRONG_SCALES.items():
        e.mistake(hint, by_parts(signed, scale))
    e.mistake("the result is float16: make both parts float32 before you multiply.",
              lambda raw: dequantise_q8_0(raw).half())  # fmt: skip
    e.mistake("`.view(dtype)` needs bytes that lie side by side: `.contiguous()` first.",
              lambda raw: raw[:, :2].view(torch.float16).float() * raw[:, 2:].view(torch.int8).float())  # fmt: skip
    e.mistake("the two bytes of the scale are taken as two numbers: `.view(torch.float16)` reads them as one.",
              by_parts(signed, lambda raw: raw[:, :2].to(torch.float16).float()))  # fmt: skip
    e.mistake("one byte of the scale is taken: it has two, `.view(torch.float16)` reads them as one.",
              by_parts(signed, lambda raw: raw[:, :1].float()))  # fmt: skip
    e.mistake("the scale lost its axis: keep (n, 1), so that it goes along each row.",
              by_parts(signed, lambda raw: as_float(raw[:, :2]).squeeze(-1)))  # fmt: skip
    e.mistake("it is divided by 127 once more: that is in the scale.", by_parts(lambda raw: signed(raw) / 127))
    e.mistake("127 is subtracted. The bytes are signed as they stand: `.view(torch.int8)`.",
              by_parts(lambda raw: raw[:, 2:].float() - 127))  # fmt: skip
    e.mistake("the scale is the block's last two bytes here, and the weights its first 32: the scale comes first.",
              lambda raw: as_float(raw[:, -2:]) * raw[:, :32].contiguous().view(torch.int8).float())  # fmt: skip
    e.mistake("the product is rounded to float16 before it is float32: make both parts float32 first.",
              lambda raw: (as_float(raw[:, :2]).half() * signed(raw).half()).float())  # fmt: skip
    e.mistake("the result is one long row: keep (n, 32).", lambda raw: dequantise_q8_0(raw).flatten())
    e.mistake("the first two bytes are among the weights: they are the scale.",
              by_parts(lambda raw: raw.contiguous().view(torch.int8).float()))  # fmt: skip


@checks.exercise("21.3", dequantise_q4_0, points=4, dtypes=(), gradients=False)
def q4(e):
    """Four bits, two weights to a byte, and a scale."""
    block_cases(e, quantise_q4_0)
    e.mistake("8 is not subtracted: w = d (q - 8).", by_parts(lambda raw: joined(raw) + 8))
    e.mistake("7.5 is subtracted: it is 8, so that 0 is among the levels.", by_parts(lambda raw: joined(raw) + 0.5))
    e.mistake("8 is added.", by_parts(lambda raw: joined(raw) + 16))
    e.mistake("the two numbers of a byte are put side by side. The high halves are the weights 16 to 31.",
              by_parts(lambda raw: torch.stack(halves(raw), dim=-1).flatten(-2).float() - 8))  # fmt: skip
    e.mistake("the high halves come first: weights 0 to 15 are the low halves.",
              by_parts(lambda raw: joined(raw, low_first=False)))  # fmt: skip
    e.mistake("q - 8 is computed in bytes, where 3 - 8 is 251: make floats first.",
              by_parts(lambda raw: torch.cat([raw[:, 2:] & 15, raw[:, 2:] >> 4], -1).sub(8).float()))  # fmt: skip
    e.mistake("the low halves still hold the high ones: `packed & 15`.",
              by_parts(lambda raw: torch.cat([raw[:, 2:].int(), raw[:, 2:].int() >> 4], -1).float() - 8))  # fmt: skip
    e.mistake("the high halves are not moved down: `packed >> 4`.",
              by_parts(lambda raw: torch.cat([raw[:, 2:] & 15, raw[:, 2:] & 240], -1).float() - 8))  # fmt: skip
    e.mistake("the mask 7 keeps three bits: four are 15.",
              by_parts(lambda raw: torch.cat([raw[:, 2:] & 7, raw[:, 2:] >> 4], -1).float() - 8))  # fmt: skip
    e.mistake("the high halves are moved down by 3: by 4.",
              by_parts(lambda raw: torch.cat([raw[:, 2:] & 15, raw[:, 2:] >> 3], -1).float() - 8))  # fmt: skip
    e.mistake("the mask 16 keeps one bit, the fifth: the low four are 15.",
              by_parts(lambda raw: torch.cat([raw[:, 2:] & 16, raw[:, 2:] >> 4], -1).float() - 8))  # fmt: skip
    e.mistake("the high halves run backwards: byte j holds weights j and j + 16.",
              by_parts(lambda raw: torch.cat([halves(raw)[0], halves(raw)[1].flip(-1)], -1).float() - 8))  # fmt: skip
    e.mistake("8 is subtracted behind the scale: w = d (q - 8), with brackets.",
              lambda raw: as_float(raw[:, :2]) * (joined(raw) + 8) - 8)  # fmt: skip
    e.mistake("the halves are joined along the blocks: along the last axis, dim=-1.",
              by_parts(lambda raw: torch.cat([raw[:, 2:] & 15, raw[:, 2:] >> 4], 0).float() - 8))  # fmt: skip
    e.mistake("7 is subtracted: it is 8, so that 0 is among the levels.", by_parts(lambda raw: joined(raw) + 1))
    e.mistake("the bytes are read as signed, so `>>` keeps the sign: shift `uint8`.", by_parts(lambda raw: torch.cat(
        [(z := raw[:, 2:].contiguous().view(torch.int8)) & 15, z >> 4], -1).float() - 8))  # fmt: skip
    e.mistake("the four bits are read as a signed number. Here 0 to 15 stand for -8 to 7 in order: subtract 8.",
              by_parts(lambda raw: torch.where(joined(raw) >= 0, joined(raw) - 8, joined(raw) + 8)))  # fmt: skip
    for hint, scale in WRONG_SCALES.items():
        e.mistake(hint, by_parts(joined, scale))
    e.mistake("the result is float16: make both parts float32 before you multiply.",
              lambda raw: dequantise_q4_0(raw).half())  # fmt: skip


def our_rows(name, tensor, config):
    """Return a tensor of a .gguf file with its rows in our order."""
    heads = {"attn_q": config.n_heads, "attn_k": config.n_kv_heads}.get(name.split(".")[-2])
    return to_half_split(tensor, heads) if heads else tensor


NAMES = {
    "blk.0.attn_q.weight": "H",
    "blk.11.attn_k.weight": "G",
    "blk.0.attn_v.weight": "G",
    "blk.0.attn_output.weight": None,
    "blk.0.attn_norm.weight": None,
}


def rows(answer, n_heads, n_kv_heads, d_head, d_model, numbers):
    """Call a loader on one tensor of each kind."""
    config = LlamaConfig(8, 1, d_model, n_heads, n_kv_heads, d_head, d_ff=8, context_length=8)
    given, found = {"H": n_heads * d_head, "G": n_kv_heads * d_head}, {}
    for name, heads in NAMES.items():
        shape = (given[heads], d_model) if heads else (d_model, n_heads * d_head)
        tensor = numbers[: shape[0] * shape[1]].view(shape).clone()
        found[name] = answer(name, tensor[:, 0] if "norm" in name else tensor, config)
    return found


@checks.exercise("21.4", our_rows, points=4, kind="repair", call=rows, gradients=False, dtypes=())
def permuted(e):
    """Which rows move, in which direction, with how many heads."""
    for H, G, N, C in ((4, 2, 8, 24), (6, 3, 6, 18), (2, 2, 10, 20), (9, 3, 16, 32)):
        e.case(f"{H} heads, {G} key heads, {N} channels", H, G, N, C, e.randn(H * N * C))

    def with_heads(query, key, value=None, output=None, turn=to_half_split):
        def answer(name, tensor, config):
            choose = {"attn_q": query, "attn_k": key, "attn_v": value, "attn_output": output}.get(name.split(".")[-2])
            return tensor if choose is None else turn(tensor, choose(config))

        return answer

    def mixed(turned):
        return lambda name, tensor, config: with_heads(H, G, turn=to_interleaved if turned in name else to_half_split)(
            name, tensor, config
        )

    H, G = (lambda config: config.n_heads), (lambda config: config.n_kv_heads)
    e.mistake("this is still the broken one: the wrong direction, and keys with n_heads.",
              with_heads(H, H, turn=to_interleaved))  # fmt: skip
    e.mistake("the wrong direction: the file is interleaved, we are half-split.", with_heads(H, G, turn=to_interleaved))
    e.mistake("keys are right, queries go in the wrong direction.", mixed("attn_q"))
    e.mistake("queries are right, keys go in the wrong direction.", mixed("attn_k"))
    e.mistake("keys have n_kv_heads heads.", with_heads(H, H))
    e.mistake("queries have n_heads heads.", with_heads(G, G))
    e.mistake("values are permuted. They are not rotated.", with_heads(H, G, G))
    e.mistake("the output matrix is permuted. It is not rotated.", with_heads(H, G, None, H))
    e.mistake("keys are left as they were.", with_heads(H, None))
    e.mistake("queries are left as they were.", with_heads(None, G))
    e.mistake("nothing is permuted: that is the crossed model. (A name is `blk.3.attn_q.weight`, not `attn_q`.)",
              with_heads(None, None))  # fmt: skip
    e.mistake("queries and keys have each other's heads: attn_q n_heads, attn_k n_kv_heads.", with_heads(G, H))
    e.mistake("all of attention is permuted: only queries and keys are rotated.", with_heads(H, H, H, H))
    e.mistake("the number of channels is given for the number of heads.", with_heads(
        lambda c: c.d_head, lambda c: c.d_head))  # fmt: skip
    e.mistake("columns are moved: a head's channels are rows here.", with_heads(
        H, G, turn=lambda t, heads: to_half_split(t.T, heads).T))  # fmt: skip
    e.mistake("it is turned twice.", with_heads(H, G, turn=lambda t, n: to_half_split(to_half_split(t, n), n)))
    e.mistake("the other tensors come back as None: return them as they are.", lambda name, tensor, config: (
        our_rows(name, tensor, config) if "attn_q" in name or "attn_k" in name else None))  # fmt: skip
    e.mistake("there is a k in `blk`, so more than keys are moved: look for attn_k.", lambda name, tensor, config: (
        to_half_split(tensor, config.n_heads if "q" in name else config.n_kv_heads)))  # fmt: skip
    e.mistake("`blk` has a k, so everything is taken for keys: look for attn_q and attn_k.",
              lambda name, tensor, config: to_half_split(tensor, config.n_kv_heads))  # fmt: skip
    e.mistake("the heads are not kept apart: permute within each head.", with_heads(lambda c: 1, lambda c: 1))


@checks.exercise("21.5", SIZE, points=2, kind="predict")
def size(e):
    """Bytes of SmolLM2's numbers: 4 bits with scale and least, 8 bits with scale, float32."""
    for hint, wrong in WRONG_SIZES.items():
        e.mistake(hint, wrong)
