"""Right answers to the exercises of lesson 09, written in other ways: the check must let them through."""

import torch

from lessons.exercises.lesson_09_wrong import best
from tests.exercises.rights import right


def _before(logits):
    """Return for each token the chances of all that are likelier, (..., V)."""
    share = logits.softmax(-1)
    likelier = logits[..., None, :] > logits[..., :, None]
    return (likelier * share[..., None, :]).sum(-1)


@right("09.1")
def by_scatter(logits, p):
    """Put the marks back to where they came from."""
    share, place = logits.softmax(-1).sort(dim=-1, descending=True, stable=True)
    before = torch.cat([torch.zeros_like(share[..., :1]), share.cumsum(-1)[..., :-1]], -1)
    stays = before < p
    stays[..., 0] = True
    gone = torch.ones_like(stays).scatter(-1, place, ~stays)
    return torch.where(gone, -torch.inf, logits)


@right("09.1")
def row_by_row(logits, p):
    """A loop over rows and over ranks."""
    rows = logits.reshape(-1, logits.shape[-1])
    out = torch.full_like(rows, -torch.inf)
    for row, kept in zip(rows, out, strict=True):
        total = 0.0
        for i in row.argsort(descending=True, stable=True).tolist():
            if total >= p and total > 0:
                break
            kept[i] = row[i]
            total += float(row.softmax(-1)[i])
    return out.reshape(logits.shape)


@right("09.2")
def by_ratio(logits, min_p):
    """e^(z_i - z_max) is the share of the best one's chance."""
    ratio = (logits - logits.amax(-1, keepdim=True)).exp()
    return torch.where(ratio < min_p, torch.full_like(logits, -torch.inf), logits)


@right("09.2")
def by_addition(logits, min_p):
    """Add 0 or -inf."""
    share = torch.softmax(logits, -1)
    gone = share < share.max(-1, keepdim=True).values * min_p
    return logits + torch.zeros_like(logits).masked_fill(gone, -torch.inf)


@right("09.3")
def into_a_table(model, tokens, n_tokens, stop):
    """Write into a result that is full of `stop` already."""
    told = torch.full((tokens.shape[0], n_tokens), stop)
    going, state = torch.ones(tokens.shape[0], dtype=torch.bool), None
    for i in range(n_tokens):
        logits, state = model(tokens if i == 0 else told[:, i - 1 : i], state)
        best = logits[:, -1].max(-1).indices
        told[going, i] = best[going]
        going = going & (told[:, i] != stop)
    return told


@right("09.3")
def by_growth(model, tokens, n_tokens, stop):
    """The text grows by a column; what was read is known from the state."""
    text, state = tokens, None
    for _ in range(n_tokens):
        read = 0 if state is None else state.position
        logits, state = model(text[:, read:], state)
        ended = (text[:, tokens.shape[1] :] == stop).any(1)
        best = torch.where(ended, stop, logits[:, -1, :].argmax(1))
        text = torch.hstack([text, best[:, None]])
    return text[:, tokens.shape[1] :]


@right("09.3")
def end_at_the_end(model, tokens, n_tokens, stop):
    """Draw all, then put `stop` behind the first one of each row."""
    state, told = None, [tokens]
    for _ in range(n_tokens):
        logits, state = model(told[-1], state)
        told.append(logits[:, -1:].argmax(-1))
    free = torch.cat(told[1:], 1)
    after = (free == stop).int().cumsum(1) - (free == stop).int() > 0
    return free.masked_fill(after, stop)


@right("09.5")
def by_mask(logits, seen, penalty):
    """Mark what was seen, then choose among three numbers."""
    used = torch.zeros_like(logits, dtype=torch.bool).scatter(1, seen, True)
    return torch.where(used, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


@right("09.5")
def token_by_token(logits, seen, penalty):
    """A loop over rows, and over the different tokens of each."""
    new = logits.clone()
    for row, tokens in enumerate(seen.tolist()):
        for token in set(tokens):
            new[row, token] *= penalty if logits[row, token] < 0 else 1 / penalty
    return new


@right("09.5")
def by_smaller(logits, seen, penalty):
    """Above 1 the smaller of both is right, below 1 the larger."""
    choose = torch.minimum if penalty >= 1 else torch.maximum
    used = torch.nn.functional.one_hot(seen, logits.shape[1]).sum(1) > 0
    return logits.masked_scatter(used, choose(logits / penalty, logits * penalty)[used])


right("09.1")(lambda z, p: torch.where(_before(z) < p, z, -torch.inf))
right("09.2")(lambda z, m: torch.where(z >= best(z) + torch.tensor(m).log() - 1e-6, z, -torch.inf))
