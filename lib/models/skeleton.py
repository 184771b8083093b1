"""What all models share: embed, N times (mix time, mix channels), norm, head. And the state that is carried along.

A language model is `forward(tokens, state=None) -> (logits, state)`. A whole sequence at once, token by token, or any
split of it gives the same logits: what was seen is in the state.
"""

from typing import NamedTuple

import torch
from torch import nn

from lib.layers.shared import Shared


class State(NamedTuple):
    """All that a model remembers: how many tokens it saw, and per block what its two mixers keep."""

    position: int
    layers: list


class Block(nn.Module):
    """One layer: x + mix_time(norm(x)), then x + mix_channels(norm(x)).

    Time-mix lets tokens look at each other, channel-mix works on each token alone. Both have the contract
    `forward(x, state, shared) -> (y, state)`, x and y (B, T, C), so that attention and recurrence fit the same place.
    """

    def __init__(self, norm_time, mix_time, norm_channels, mix_channels):
        super().__init__()
        self.norm_time, self.mix_time = norm_time, mix_time
        self.norm_channels, self.mix_channels = norm_channels, mix_channels

    def forward(self, x, state, shared):
        """(B, T, C) -> (B, T, C), and the pair of the mixers' states."""
        time_state, channel_state = state
        y, time_state = self.mix_time(self.norm_time(x), time_state, shared)
        x = x + y
        y, channel_state = self.mix_channels(self.norm_channels(x), channel_state, shared)
        return x + y, (time_state, channel_state)


class LanguageModel(nn.Module):
    """Embedding, blocks, final norm, head. `config` needs `vocab_size`, `d_model`, `context_length` and `tied`.

    RWKV norms what the embedding gives, before the first block; other models leave `norm_embed` out.
    """

    def __init__(self, config, blocks, norm, norm_embed=None):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.d_model)
        self.norm_embed = norm_embed or nn.Identity()
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.embed.weight

    def shared(self, position, T, x, layers=None):
        """Return what one place computes and all blocks read, for the T tokens after `position`: a `Shared`.

        x: (B, T, C), what the first block gets; layers: the blocks' states, None at the start.
        """
        return Shared()

    def read_early(self):
        """Return the numbers of the blocks whose weights `shared` reads, before the blocks are called."""
        return ()

    def hidden(self, tokens, state=None):
        """Return what the head sees, (B, T) -> (B, T, C), and the new state.

        Use it where logits for all tokens would be waste: in generation only the last token's are needed.
        """
        state = State(0, [(None, None)] * len(self.blocks)) if state is None else state
        self._check(tokens, state.position)
        x = self.norm_embed(self.embed(tokens))  # (B, T, C)
        shared = self.shared(state.position, tokens.shape[1], x, state.layers)
        layers = []
        for block, layer in zip(self.blocks, state.layers, strict=True):
            x, layer = block(x, layer, shared)
            layers.append(layer)
        return self.norm(x), State(state.position + tokens.shape[1], layers)

    def forward(self, tokens, state=None):
        """Token ids (B, T) -> logits (B, T, V) and the new state. Softmax makes probabilities of logits."""
        x, state = self.hidden(tokens, state)
        return self.head(x), state

    def _check(self, tokens, position):
        if tokens.dim() != 2 or tokens.numel() == 0:
            raise ValueError(f"tokens have shape {tuple(tokens.shape)}, expected (B, T): one row is tokens[None]")
        end, room = position + tokens.shape[1], self.config.context_length
        if room is not None and end > room:
            raise ValueError(
                f"{end} tokens, but the model was built for {room}: pass the last {room}, or build it longer"
            )
        # On an accelerator this look would wait for the device at every step, it would cut in two what torch.compile
        # writes, and both report bad ids by themselves.
        if tokens.device.type == "cpu" and not torch.compiler.is_compiling():
            low, high = map(int, tokens.aminmax())
            if not 0 <= low <= high < self.config.vocab_size:
                bad = low if low < 0 else high
                raise ValueError(
                    f"token {bad}, but the vocabulary has {self.config.vocab_size}: use the model's tokenizer"
                )


def initialise(model, outputs=()):
    """Draw all matrices anew: normal, standard deviation sqrt(2 / (5 C)); those named in `outputs` 1 / (L sqrt(C)).

    The outputs of the mixers add up over L layers, so they start small. C is the model's width.
    Source: TinyLlama, pretrain/tinyllama.py, after Nguyen and Salazar 2019, arXiv 1910.05895. Norms start at one.
    """
    C, L = model.config.d_model, model.config.n_layers
    for name, weight in model.named_parameters():
        if weight.dim() >= 2:
            small = any(name.endswith(f"{output}.weight") for output in outputs)
            nn.init.normal_(weight, std=C**-0.5 / L if small else (0.4 / C) ** 0.5)


@torch.no_grad()
def head_from_embedding(model, spread=None):
    """Let the rows of an untied head start in the directions of the embedding's, each as long as it was.

    To repeat a word of the text, some block must carry its embedding to the place where it is due, and the head must
    know it there. With a head of its own random rows the model has to learn for each word what it looks like to the
    head; now it knows from the start, and learns copying with all words at once. It is what tying gives, without the
    pull of the two tasks on one table later on. Nothing happens where the two are one table.

    spread: first draw the embedding anew, normal with this standard deviation. RWKV begins at 1e-4, so that a few steps
    decide all of it. But words that come in the same places, as names do, are then pulled the same way from the same
    point, and nobody can copy what can't be told apart.
    """
    if not model.config.tied:
        embed, head = model.embed.weight, model.head.weight  # (V, C), (V, C)
        if spread is not None:
            nn.init.normal_(embed, std=spread)
        head.copy_(nn.functional.normalize(embed, dim=1) * head.norm(dim=1, keepdim=True))


def n_params(model):
    """Count the parameters, shared ones once."""
    return sum(weight.numel() for weight in model.parameters())


def count_on_meta(build):
    """Count the parameters of the model that `build()` makes, without memory for a single one of them."""
    with torch.device("meta"):
        return n_params(build())
