"""Likely wrong answers to 22.2 and 22.3, by the hint that fits them: what each does differently."""


def costs():
    """Return {hint: the parts of the count that are changed}."""
    return {
        "this is the forward pass: training takes three times as much.": dict(times=1),
        "twice the forward pass for the way back, and the forward pass itself: three, not two.": dict(times=2),
        "a multiplication and an addition are two FLOPs: each weight counts 2 a token.": dict(two=1),
        "the head is missing: it is a matrix of V C, and works for every token.": dict(head=0),
        "the embedding is counted: it is a table that is looked up, no product.": dict(head=2),
        "SwiGLU has three matrices: gate, up, down.": dict(inner=2),
        "attention has four matrices of C x C: query, key, value, output.": dict(squares=3),
        "each token sees itself and those before it: T (T + 1) / 2 pairs, not T^2.": dict(pairs=lambda T: T * T),
        "a token sees itself, too: T (T + 1) / 2 pairs.": dict(pairs=lambda T: T * (T - 1) // 2),
        "attention is missing.": dict(layers=0),
        "attention happens in every layer.": dict(layers=1),
        "two products for each pair, of the query with the key and of the share with the value: 4 C.": dict(products=2),
        "the softmax is missing: 6 for each pair and head.": dict(scores=0),
        "this is one row: multiply by their number.": dict(read=1),
    }


def records():
    """Return {hint: the parts of the comparison that are changed}."""
    return {
        "the batch size is forgotten: a step reads batch_size rows.": dict(step=lambda r: r["steps"] * r["length"]),
        "the length is forgotten: a row has `length` tokens.": dict(step=lambda r: r["steps"] * r["batch_size"]),
        "FLOPs are counted for a row: divide the tokens by the length.": dict(rows=lambda r: r["tokens"]),
        "FLOPs are counted from the steps here: count the rows that the tokens make, and each figure by itself.": dict(
            rows=lambda r: r["steps"] * r["batch_size"]
        ),
        "the curve's first point is taken: it is the last that says where the run ended.": dict(
            last=lambda r: r["curve"][0]
        ),
        "the losses are compared as equal: one is of training, one of new stories. Allow a quarter.": dict(
            near=lambda a, b: a == b
        ),
        "the difference is held against the last loss: a quarter of the validation's loss is meant.": dict(
            near=lambda a, b: abs(b / a - 1) <= 0.25
        ),
        "a loss may be too high as well as too low.": dict(near=lambda a, b: a / b - 1 <= 0.25),
        "a quarter is a share, not nats.": dict(near=lambda a, b: abs(a - b) <= 0.25),
        "the lowest loss of the curve is taken: the last one belongs to the weights.": dict(
            last=lambda r: [r["curve"][-1][0], min(loss for _, loss in r["curve"])]
        ),
        "the tokens were not held against the steps.": dict(names=("flops", "curve", "loss")),
        "the FLOPs were not counted.": dict(names=("tokens", "curve", "loss")),
        "the end of the curve was not looked at.": dict(names=("tokens", "flops", "loss")),
        "the loss was not looked at.": dict(names=("tokens", "flops", "curve")),
    }
