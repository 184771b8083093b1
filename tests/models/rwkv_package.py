"""Run the `rwkv` package on a checkpoint, in a process of its own: it reads its flags while it is imported.

python3 rwkv_package.py GENERATION NAME.pth TOKENS RESULT.pt      (TOKENS like 3,1,4)
"""

import os
import sys


def main(generation, path, tokens, result):
    """Save the logits of the whole sequence, of single tokens, and of two parts; and ten greedy tokens."""
    os.environ["RWKV_JIT_ON"], os.environ["RWKV_CUDA_ON"] = "1", "0"
    if generation == "7":
        os.environ["RWKV_V7_ON"] = "1"
    import torch
    from rwkv.model import RWKV

    torch.set_num_threads(1)
    tokens = [int(token) for token in tokens.split(",")]
    model = RWKV(model=path.removesuffix(".pth"), strategy="cpu fp32")
    found = {"whole": model.forward(tokens, None, full_output=True)[0]}
    state, rows = None, []
    for token in tokens:
        row, state = model.forward([token], state)
        rows.append(row.clone())
    found["step by step"] = torch.stack(rows)
    first, state = model.forward(tokens[:4], None, full_output=True)
    first = first.clone()
    second, state = model.forward(tokens[4:], state, full_output=True)
    found["in two parts"] = torch.cat([first, second])
    greedy, row = [], second[-1]
    for _ in range(10):
        greedy.append(int(row.argmax()))
        row, state = model.forward([greedy[-1]], state)
    found["greedy"] = torch.tensor(greedy)
    torch.save(found, result)


if __name__ == "__main__":
    main(*sys.argv[1:])
