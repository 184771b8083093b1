"""Continue a text, token by token: one loop for a KV cache, for a recurrence, and for no state at all."""

import codecs
import itertools
import math
import operator

import torch

from lib.run.decode import Decoder, can_decode

SMALLEST = 1e-30  # of temperatures: below it, logits divided by it overflow float32


def apply_temperature(logits, temperature):
    """Divide the logits by the temperature: below 1 the likely gets likelier, above 1 all gets more even.

    p_i is proportional to exp(logit_i / temperature). logits: (..., V); temperature above zero.
    """
    if not isinstance(temperature, int | float) or not SMALLEST <= temperature < float("inf"):
        raise ValueError(f"a temperature of {temperature}: take {SMALLEST} or more, or 0 in `sample` for greedy")
    return logits / temperature


def keep_top_k(logits, k):
    """Leave the k largest logits of each row, and all that equal the k-th; the others become -inf. logits: (..., V)."""
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"top_k is {k!r}, which leaves no token: take a whole number of 1 or more")
    smallest = logits.topk(min(k, logits.shape[-1])).values[..., -1:]  # (..., 1)
    return logits.masked_fill(logits < smallest, -torch.inf)


def keep_top_p(logits, p):
    """Leave the smallest set of most likely tokens whose probabilities sum to p or more; the others become -inf.

    A token stays if those before it, in falling order, sum to less than p. So the first one always stays.
    logits: (..., V). Source: Holtzman et al. 2019, arXiv 1904.09751, section 3.1.
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p is {p}: it is a share of the probability, above 0 and at most 1")
    ordered, place = logits.sort(dim=-1, descending=True, stable=True)
    share = ordered.softmax(dim=-1)
    gone = share.cumsum(dim=-1) - share >= p
    gone[..., 0] = False
    return logits.masked_fill(gone.gather(-1, place.argsort(-1)), -torch.inf)


def choose(logits, temperature=1.0, top_k=None, top_p=None, generator=None):
    """Draw one token a row, (B, V) -> (B,), after the filters in the arguments' order. Temperature 0 is greedy.

    ValueError where a row has no probabilities: one of its logits is NaN or infinite, or all are -infinite.
    """
    largest = logits.amax(dim=-1)  # (B,), NaN where any of the row is
    if not math.isfinite(largest.sum(dtype=torch.float32).item()):  # one number for all rows: this is every token's way
        refuse_no_probabilities(largest)
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = apply_temperature(logits.float(), temperature)
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0]


def refuse_no_probabilities(largest):
    """Raise ValueError where the largest logit of a row, (B,), is NaN or infinite."""
    for row, logit in enumerate(largest.tolist()):
        if not math.isfinite(logit):
            raise ValueError(
                f"the largest logit of row {row} is {logit}, which gives no probabilities: the model's weights hold "
                "NaN or infinite numbers. Its training failed or its file is damaged: train it anew, or load it again"
            )


def stop_tokens(stop, vocab_size):
    """Return the list of tokens that end a text: `stop` is None, one token, or several in a list, tuple, set, tensor.

    Published models name several: in Llama 3's generation_config.json eos_token_id is [128001, 128008, 128009].
    """
    if isinstance(stop, torch.Tensor):
        stop = stop.flatten().tolist()
    several = list(stop) if isinstance(stop, list | tuple | set | frozenset) else [] if stop is None else [stop]
    try:
        several = [operator.index(token) for token in several]
    except TypeError:
        raise ValueError(f"stop is {stop!r}: give the number of a token, or a list of such numbers") from None
    for token in several:
        if not 0 <= token < vocab_size:
            raise ValueError(f"stop names token {token}, but the model's tokens are 0 to {vocab_size - 1}")
    return several


@torch.inference_mode()
def sample(model, tokens, n_tokens, temperature=1.0, top_k=None, top_p=None, seed=None, cache=True, stop=None,
           look=None):  # fmt: skip
    """Yield up to n_tokens tokens, (B,) each, that continue `tokens` (B, T), all rows of one length.

    With `cache` each step hands the model the newest token and the state, or a LLaMA's `Decoder` the token; without,
    everything from the start again: the same tokens, later. `stop` is a token that ends a text, or a list of several:
    a row that came to one of them repeats it; when all rows did, it ends.
    A seed gives the same tokens again; without one, torch's own random state is used. look: called with the logits,
    (B, V), before each draw.
    """
    if tokens.dim() != 2 or tokens.numel() == 0:
        raise ValueError(f"tokens have shape {tuple(tokens.shape)}, expected (B, T): one row is tokens[None]")
    room = getattr(model.config, "context_length", None)
    if room is not None and tokens.shape[1] + n_tokens - 1 > room:
        raise ValueError(
            f"{tokens.shape[1]} tokens and {n_tokens} new ones, but the model was built for {room}: ask for "
            f"{max(0, room + 1 - tokens.shape[1])} new ones at most, or pass fewer"
        )
    tokens = tokens.to(model.head.weight.device)
    stops = stop_tokens(stop, model.config.vocab_size)
    generator = None if seed is None else torch.Generator(tokens.device).manual_seed(seed)
    ended = torch.zeros(len(tokens), dtype=torch.bool, device=tokens.device)
    fast = cache and can_decode(model)
    state, new, token, decoder = None, tokens, None, None
    for i in range(n_tokens):
        if fast and i == 1:
            decoder = Decoder(model, state, n_tokens - 1)
        if decoder is None:
            x, state = model.hidden(new, state if cache else None)  # (B, T, C)
            x = x[:, -1]  # (B, C)
        else:
            x = decoder(token)
        logits = model.head(x)  # (B, V)
        if look is not None:
            look(logits)
        drawn = choose(logits, temperature, top_k, top_p, generator)
        token = torch.where(ended, token, drawn) if stops and token is not None else drawn
        for one in stops:
            ended |= token == one
        yield token
        if stops and ended.all():
            return
        new = token[:, None] if cache else torch.cat([new, token[:, None]], dim=1)


def tell_stream(model, tokenizer, prompt="", n_tokens=None, **options):
    """Yield the prompt, then what the model goes on with, in pieces of whole characters; it ends at <|endoftext|>.

    A character may take several tokens: its bytes wait until it is whole. Without n_tokens the context is filled.
    A prompt of ids, a list, is read as it is and not yielded. Options are those of `sample`.

    End a prompt without a blank: a blank belongs to the token of the word after it, so a blank alone at the end is a
    token that the model has hardly ever seen there, and it goes on badly.
    """
    ids = prompt if isinstance(prompt, list) else [tokenizer.eot, *tokenizer.encode(prompt)]
    if n_tokens is None:
        n_tokens = max(1, (model.config.context_length or 1024) + 1 - len(ids))
    characters = codecs.getincrementaldecoder("utf-8")(errors="replace")
    tokens = sample(model, torch.tensor([ids]), n_tokens, stop=tokenizer.eot, **options)
    first = list(itertools.islice(tokens, 1))  # before anything is told: what can't be continued is refused here
    if not isinstance(prompt, list):
        yield prompt if isinstance(prompt, str) else prompt.decode("utf-8", errors="replace")
    for token in itertools.chain(first, tokens):
        if token.item() == tokenizer.eot:
            break
        piece = characters.decode(tokenizer.decode_bytes([token.item()]))
        if piece:
            yield piece
    rest = characters.decode(b"", final=True)
    if rest:
        yield rest


def tell_with_chances(model, tokenizer, prompt="", n_tokens=None, n=5, **options):
    """Yield (piece, choices) as `tell_stream` yields pieces; choices: the n likeliest tokens there, [(text, chance)].

    The chances are the model's own, at temperature 1. The prompt has no choices.
    """
    tops = []

    def look(logits):
        chances, ids = logits[0].float().softmax(-1).topk(n)
        pieces = map(tokenizer.decode, ids[:, None].tolist())
        tops.append(list(zip(pieces, chances.tolist(), strict=True)))

    for i, piece in enumerate(tell_stream(model, tokenizer, prompt, n_tokens, look=look, **options)):
        yield piece, tops[-1] if i and tops else []


def tell(model, tokenizer, prompt="", n_tokens=None, **options):
    """Return the prompt and how the model goes on, up to <|endoftext|>. Options are those of `sample`.

    The prompt should not end in a blank, see `tell_stream`.
    """
    return "".join(tell_stream(model, tokenizer, prompt, n_tokens, **options))
