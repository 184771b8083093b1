"""The checks of lesson 03, SwiGLU."""

import itertools
import math
import operator

import torch
import torch.nn.functional as F

from lessons.checker.check import Checks
from lessons.checker.limits import InWords
from lessons.exercises import lesson_03_wrong as other
from lib.layers.mlp import SwiGLU, llama_d_ff

checks = Checks("03")
check = checks.check


@checks.exercise("03.1", SwiGLU, points=4, dtypes=(torch.float64, torch.bfloat16), time=(0, 1), batch=(0,))
def swiglu(e):
    """The layer. Each wrong version changes one thing."""
    e.case("random numbers", e.randn(2, 5, 6), None, None, build=(6, 10))
    e.case("large numbers", 40 * e.randn(2, 3, 8), None, None, build=(8, 5))
    e.case("one token, no batch", e.randn(7), None, None, build=(7, 12))
    e.case("a state comes in", e.randn(2, 3, 6), e.randn(2, 4), None, build=(6, 9))
    e.case("called with x alone", e.randn(3, 4, 6), build=(6, 11))
    for hint, formula in other.WRONG_FORMULAS.items():
        e.mistake(hint, other.layer(formula))
    e.mistake("forward must return two things: `return y, state`.", other.layer(other.right_one, lambda y, state: y))
    e.mistake("the state that comes in must go out again.", other.layer(other.right_one, lambda y, state: (y, None)))
    e.mistake(
        "the state comes first: return y, then the state.", other.layer(other.right_one, lambda y, state: (state, y))
    )
    e.mistake("there are no biases: `bias=False`.", other.built(torch.nn.Linear))
    e.mistake(
        "`nn.Linear(a, b)` goes from a channels to b.", other.built(lambda wide, narrow: other.plain(narrow, wide))
    )
    e.mistake("the layer does not keep its matrices: `self.gate = ...`.", other.built(other.plain, kept=False))
    e.mistake(
        "the matrices have other names: `gate`, `up`, `down`.", other.built(other.plain, names=("w1", "w3", "w2"))
    )
    e.mistake("gate and offer are one matrix: they are two.", other.One)
    e.mistake("the matrices are bare tensors: make each an `nn.Linear` without bias.", other.Raw)


def whole_number(answer, d_model, multiple_of=256):
    """Call an answer, and insist on a whole number."""
    width = answer(d_model, multiple_of)
    try:
        return operator.index(width)
    except TypeError:
        if isinstance(width, float):
            raise InWords("the width is a float: `//` keeps numbers whole, `/` does not") from None
        return width


@checks.exercise("03.2", llama_d_ff, points=2, call=whole_number)
def width(e):
    """Two thirds of 4 d, rounded up."""
    for d_model in (4096, 5120, 6656, 8192, 2048):
        e.case(f"d_model {d_model}", d_model)
    e.case("d_model 768: two thirds of 4 d are a multiple already", 768)
    e.case("d_model 100, multiples of 32", 100, 32)
    e.case("d_model 97, multiples of 1", 97, 1)
    e.case("some width", e.size(300, 9000))
    e.case("d_model 8192, multiples of 4096", 8192, multiple_of=4096)
    third = lambda d: 8 * d // 3  # noqa: E731
    e.mistake("rounded down: it must go up.", lambda d, multiple_of=256: third(d) // multiple_of * multiple_of)
    e.mistake(
        "rounded to the nearest multiple: it must go up.",
        lambda d, multiple_of=256: round(third(d) / multiple_of) * multiple_of,
    )
    e.mistake(
        "a multiple is pushed up to the next one. Add multiple_of - 1, not multiple_of.",
        lambda d, multiple_of=256: (third(d) + multiple_of) // multiple_of * multiple_of,
    )
    e.mistake(
        "the fraction is rounded up before. Meta's code drops it.",
        lambda d, multiple_of=256: -(-math.ceil(8 * d / 3) // multiple_of) * multiple_of,
    )
    e.mistake("multiple_of is the function's argument, not always 256.", lambda d, multiple_of=256: llama_d_ff(d))
    e.mistake(
        "that is 4 d: the two thirds are missing.", lambda d, multiple_of=256: -(-4 * d // multiple_of) * multiple_of
    )
    e.mistake("it is not rounded to a multiple.", lambda d, multiple_of=256: third(d))
    e.mistake(
        "divided by 3 too early: 8 times d first.",
        lambda d, multiple_of=256: -(-8 * (d // 3) // multiple_of) * multiple_of,
    )
    e.mistake("8 // 3 is 2: 8 times d first.", lambda d, multiple_of=256: -(-2 * d // multiple_of) * multiple_of)
    e.mistake(
        "this is how many multiples: times `multiple_of`.", lambda d, multiple_of=256: -(-third(d) // multiple_of)
    )
    e.mistake(
        "`//` and `*` come before `+`: put brackets around the sum.",
        lambda d, multiple_of=256: third(d) + multiple_of - 1 // multiple_of * multiple_of,
    )
    e.mistake(
        "this is a power of 2: `multiple_of` is one, and the width a multiple of it.",
        lambda d, multiple_of=256: 1 << (third(d) - 1).bit_length(),
    )
    e.mistake("two thirds of d, not of 4 d.", lambda d, multiple_of=256: -(-(2 * d // 3) // multiple_of) * multiple_of)


def fused_swiglu(x, gate_up, down):
    """Return SwiGLU of x with gate and up in one matrix, the gate's rows first. x: (B, T, C); (2F, C); (C, F)."""
    gate, up = (x @ gate_up.T).chunk(2, dim=-1)
    return (F.silu(gate) * up) @ down.T


@checks.exercise("03.3", fused_swiglu, points=3, kind="repair", time=(0, 1), batch=(0,))
def fused(e):
    """Which half is the gate."""
    e.case("random numbers", e.randn(2, 5, 6), e.randn(20, 6), e.randn(6, 10))
    e.case("large numbers", 30 * e.randn(1, 3, 4), e.randn(6, 4), e.randn(4, 3))
    e.case("another width", e.randn(3, 2, 5), e.randn(14, 5), e.randn(5, 7))

    def wrong(hint, middle):
        e.mistake(hint, lambda x, gate_up, down: middle(x @ gate_up.T) @ down.T)

    def halves(z):
        return z.chunk(2, dim=-1)

    wrong(
        "this is still the broken one: the second half goes through silu.",
        lambda z: halves(z)[0] * F.silu(halves(z)[1]),
    )
    wrong(
        "rows are taken in turns, 0::2 and 1::2. They lie in two halves.", lambda z: F.silu(z[..., 0::2]) * z[..., 1::2]
    )
    wrong(
        "rows are taken in turns, and crossed. They lie in two halves.", lambda z: F.silu(z[..., 1::2]) * z[..., 0::2]
    )
    wrong("silu is around both halves.", lambda z: F.silu(halves(z)[0]) * F.silu(halves(z)[1]))
    wrong("silu is around the product.", lambda z: F.silu(halves(z)[0] * halves(z)[1]))
    wrong("there is no silu.", lambda z: halves(z)[0] * halves(z)[1])
    wrong("the halves are added. The gate multiplies.", lambda z: F.silu(halves(z)[0]) + halves(z)[1])
    wrong("sigmoid instead of silu.", lambda z: torch.sigmoid(halves(z)[0]) * halves(z)[1])
    wrong("silu is around both halves.", lambda z: halves(F.silu(z))[0] * halves(F.silu(z))[1])
    wrong(other.FOR_ONE, lambda z: other.scalar_silu(halves(z)[0]) * halves(z)[1])
    for dim in (0, 1):
        wrong("it is cut along another axis: dim=-1.", lambda z, dim=dim: other.middle_of(z, dim))
    wrong("`split(2)` makes pieces of 2 channels: `chunk(2)` makes 2 pieces.", other.by_twos)
    wrong("`F` is torch.nn.functional here: call the width something else.", lambda z: z.shape[-1].silu(z))
    e.mistake("`down` is left out.", lambda x, gate_up, down: other.middle_of(x @ gate_up.T))
    e.mistake(
        "the rows are cut after C of them: the gate has F, which is half of the rows.",
        lambda x, gate_up, down: through(x, gate_up[: x.shape[-1]], gate_up[x.shape[-1] :], down),
    )
    e.mistake(
        "the matrix is cut between its columns: the first F rows are the gate.",
        lambda x, gate_up, down: through(x, *gate_up.chunk(2, dim=-1), down),
    )
    rows = "a row of a matrix makes one output: `x @ matrix.T`."
    e.mistake(rows, lambda x, gate_up, down: through(x, *gate_up.chunk(2), down.T))
    e.mistake(rows, lambda x, gate_up, down: other.middle_of(x @ gate_up) @ down.T)
    e.mistake("y alone is returned, no state.", lambda x, gate_up, down: (fused_swiglu(x, gate_up, down), None))


def through(x, gate, up, down):
    """Return what a SwiGLU with these matrices makes of x."""
    return (F.silu(x @ gate.T) * (x @ up.T)) @ down.T


def product_weights():
    """Return gate, up and down, each (2, 2), of a SwiGLU that turns (a, b) into (a b, 0)."""
    return weights([[1, 0], [-1, 0]], [[0, 1], [0, 1]], [[1, -1], [0, 0]])


def weights(*rows):
    """Return lists of rows as float tensors."""
    return tuple(torch.tensor(matrix, dtype=torch.float32) for matrix in rows)


def through_layer(answer, points):
    """Put points (n, 2) through a SwiGLU with the weights that an answer gives."""
    given = answer()
    if not isinstance(given, (tuple, list)) or len(given) != 3:
        raise InWords("three matrices are expected: return gate, up, down")
    for name, weight in zip(("gate", "up", "down"), given, strict=True):
        if not isinstance(weight, torch.Tensor) or weight.shape != (2, 2):
            raise InWords(f"{name} must be a tensor of shape (2, 2)")
        if not weight.is_floating_point():
            raise InWords(f"{name} holds whole numbers, the weights of a layer are floats: write 1.0 for 1")
    if turned := transposed(given):
        raise InWords(f"transposed: {', '.join(turned)}")
    return through(points, *(weight.to(points.dtype) for weight in given))


def transposed(given):
    """Return the names of the matrices that need to be transposed for a right answer; none where it is right."""
    points = torch.tensor([[3.0, 4.0], [-3.0, 4.0], [1.5, -2.0]], dtype=torch.float64)
    wanted = torch.stack([points.prod(-1), torch.zeros(3)], -1)
    for turn in sorted(itertools.product((False, True), repeat=3), key=sum):
        matrices = (weight.double().T if yes else weight.double() for weight, yes in zip(given, turn, strict=True))
        if torch.allclose(through(points, *matrices), wanted, rtol=1e-5):
            return [name for name, yes in zip(("gate", "up", "down"), turn, strict=True) if yes]
    return []


@checks.exercise("03.4", product_weights, points=4, call=through_layer)
def product(e):
    """Any weights that multiply are right."""
    e.case("random points", e.randn(9, 2))
    e.case("large numbers", 200 * e.randn(9, 2))
    e.case("small numbers", 0.01 * e.randn(9, 2), hint="right for large numbers only: silu(a) alone is nearly a there.")
    e.case("both signs", torch.tensor([[3.0, 4.0], [-3.0, 4.0], [3.0, -4.0], [-3.0, -4.0], [0.0, 5.0]]))
    gate, up, down = product_weights()
    wrong = {
        "the sum is silu(a) b + silu(-a) b. It must be their difference: one minus, and not two.": (
            gate,
            up,
            down.abs(),
        ),
        "one unit only: silu(a) b is near a b for large a, and near 0 for negative a.": (
            gate,
            up,
            weights([[1, 0], [0, 0]])[0],
        ),
        "both gates are +a, so their difference is nothing. One gate must be -a.": (gate.abs(), up, down),
        "this is a times a: the offer must be b, the second channel.": (gate, up.flip(1), down),
        "this is b times b: the gates must be a and -a.": (gate.flip(1), up, down),
        "a b comes out of both channels; the second should be 0.": (gate, up, down[:1].expand(2, 2)),
        "a b comes out of the second channel: swap the rows of `down`.": (gate, up, down.flip(0)),
        "the sign is wrong: -a b. Swap the signs in `down`.": (gate, up, -down),
        "only half of it: silu(a) - silu(-a) is a already.": (gate, up, down / 2),
        "`gate` and `up` have changed places.": (up, gate, down),
        "a gates b, and b gates a. Both gates should see a, one of them -a.": weights(
            [[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0.5, 0.5], [0, 0]]
        ),
        "the gates see a + b: they should see a alone.": (gate[:, :1].expand(2, 2), up, down),
    }
    row = "each row of `gate` and `up` makes one hidden unit, each row of `down` one output."
    for turned in ((gate.T, up, down), (gate, up.T, down), (gate, up, down.T), (gate.T, up.T, down.T)):
        e.mistake(row, lambda turned=turned: turned)
    for hint, matrices in wrong.items():
        e.mistake(hint, lambda matrices=matrices: matrices)


PARAMETERS = 32 * 3 * 4096 * 11008


@checks.exercise("03.5", PARAMETERS, points=1)
def parameters(e):
    """Three matrices in each of 32 layers."""
    e.mistake("that is one layer: there are 32.", PARAMETERS // 32)
    e.mistake("that is one matrix a layer: SwiGLU has three.", PARAMETERS // 3)
    e.mistake("that is two matrices a layer: gate, up and down are three.", PARAMETERS // 3 * 2)
    e.mistake("that is with a width of 4 C: LLaMA-7B's is 11,008.", 32 * 3 * 4096 * 16384)
    for unrounded in (32 * 3 * 4096 * 10922, 32 * 8 * 4096**2):
        e.mistake("that is 8/3 C without the rounding to 11,008.", unrounded)
    e.mistake("each matrix is 4,096 by 11,008.", 32 * 3 * 4096**2)
    e.mistake("write the whole number, not billions.", 4.33)
    for rounded in (4.33e9, 4.3e9):
        e.mistake("it is rounded: write it as a product, and Python has all digits.", rounded)
    for share in (0.64, 64):
        e.mistake("that is SwiGLU's share of the model: the number itself is asked for.", share)
    e.mistake("these are bytes, 2 for each: count the parameters.", 2 * PARAMETERS)
    e.mistake("there are no biases.", PARAMETERS + 32 * (2 * 11008 + 4096))
