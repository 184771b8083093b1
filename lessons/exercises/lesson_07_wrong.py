"""Wrong blocks and models, one mistake each, for the checks of lesson 07."""

from dataclasses import replace

from lib.layers.rope import rope_table
from lib.layers.shared import Shared
from lib.models.llama import Llama
from lib.models.skeleton import Block, State


def wrong_block(forward):
    """Make a block class with another forward."""
    return type("Wrong", (Block,), {"forward": forward})


def on_the_road(self, x, state, shared):
    """The norm stands on the road itself."""
    x = self.norm_time(x)
    y, time = self.mix_time(x, state[0], shared)
    x = self.norm_channels(x + y)
    y, channel = self.mix_channels(x, state[1], shared)
    return x + y, (time, channel)


def no_residual(self, x, state, shared):
    """Nothing is added."""
    x, time = self.mix_time(self.norm_time(x), state[0], shared)
    x, channel = self.mix_channels(self.norm_channels(x), state[1], shared)
    return x, (time, channel)


def no_norm(self, x, state, shared):
    """The mixers read x as it is."""
    y, time = self.mix_time(x, state[0], shared)
    x = x + y
    y, channel = self.mix_channels(x, state[1], shared)
    return x + y, (time, channel)


def parallel(self, x, state, shared):
    """Both mixers read the same x."""
    y, time = self.mix_time(self.norm_time(x), state[0], shared)
    z, channel = self.mix_channels(self.norm_channels(x), state[1], shared)
    return x + y + z, (time, channel)


def old_state(self, x, state, shared):
    """The states are returned as they came."""
    return Block.forward(self, x, state, shared)[0], state


def post_norm(self, x, state, shared):
    """The norms come after the sum."""
    y, time = self.mix_time(x, state[0], shared)
    x = self.norm_time(x + y)
    y, channel = self.mix_channels(x, state[1], shared)
    return self.norm_channels(x + y), (time, channel)


def one_norm(self, x, state, shared):
    """The first norm is used twice."""
    y, time = self.mix_time(self.norm_time(x), state[0], shared)
    x = x + y
    y, channel = self.mix_channels(self.norm_time(x), state[1], shared)
    return x + y, (time, channel)


def channels_first(self, x, state, shared):
    """The order is turned around."""
    y, channel = self.mix_channels(self.norm_channels(x), state[1], shared)
    x = x + y
    y, time = self.mix_time(self.norm_time(x), state[0], shared)
    return x + y, (time, channel)


def branch_only(self, x, state, shared):
    """The second mixer reads what the first one gave, not the sum."""
    y, time = self.mix_time(self.norm_time(x), state[0], shared)
    x = x + y
    z, channel = self.mix_channels(self.norm_channels(y), state[1], shared)
    return x + z, (time, channel)


def last_branch(self, x, state, shared):
    """What the second mixer gave is not added."""
    y, time = self.mix_time(self.norm_time(x), state[0], shared)
    y, channel = self.mix_channels(self.norm_channels(x + y), state[1], shared)
    return y, (time, channel)


def without_state(self, x, state, shared):
    """The states that came are not given to the mixers."""
    return Block.forward(self, x, (None, None), shared)


def crossed_states(self, x, state, shared):
    """The channel mixer's state comes first."""
    x, (time, channel) = Block.forward(self, x, state, shared)
    return x, (channel, time)


def _lost(self, x, state, shared):
    x, (time, _) = Block.forward(self, x, state, shared)
    return x, (time, None)


def _times_state(self, x, state, shared):
    y, time = self.mix_time(self.norm_time(x), state[0], shared)
    x = x + y
    y, channel = self.mix_channels(self.norm_channels(x), time, shared)
    return x + y, (time, channel)


def _attention_lost(self, x, state, shared):
    y, time = self.mix_time(self.norm_time(x), state[0], shared)
    y, channel = self.mix_channels(self.norm_channels(x + y), state[1], shared)
    return x + y, (time, channel)


def _not_unpacked(self, x, state, shared):
    return x + self.mix_time(self.norm_time(x), state[0], shared), state


def _not_shared(self, x, state, shared):
    return self.mix_time(self.norm_time(x), state[0]), state


WRONG_BLOCKS = {
    "the channel mixer's new state is lost: SwiGLU has none, but another mixer may.": _lost,
    "the time mixer's state goes to the channel mixer: each gets its own back.": _times_state,
    "what attention added is lost at the end: x itself grows, twice.": _attention_lost,
    "a mixer returns two things: y, state = mixer(x, state, shared).": _not_unpacked,
    "`shared` goes to both mixers, too.": _not_shared,
    "the second mixer reads norm(y): it reads the norm of x, to which y has been added.": branch_only,
    "the second sum is missing: return x + y.": last_branch,
    "the mixers get None: give each the state that came in for it.": without_state,
    "the two states are crossed: the time mixer's comes first.": crossed_states,
}


def wrong_model(change):
    """Make a Llama whose forward is `change(model, tokens, state)`."""
    return type("Wrong", (Llama,), {"forward": lambda self, tokens, state=None: change(self, tokens, state)})


def assemble(model, tokens, state=None, offset=True, norm=True, keep=True, count=True, same=False, late=0, fresh=False):
    """Run a Llama by hand, with one thing left out."""
    state = State(0, [(None, None)] * len(model.blocks)) if state is None or fresh else state
    T, config, x = tokens.shape[1], model.config, model.embed(tokens)
    at = state.position + (late if state.position else 0) if offset else 0
    cos, sin = rope_table(config.d_head, T, config.rope_theta, offset=at, dtype=x.dtype)
    layers = []
    for block, layer in zip(model.blocks, state.layers, strict=True):
        block = model.blocks[0] if same else block
        x, new = block(x, layer, Shared(cos, sin))
        layers.append(new if keep else layer)
    position = state.position + T if count else T
    return model.head(model.norm(x) if norm else x), State(position, layers)


def _fixed_theta(model, tokens, state):
    held, model.config = model.config, replace(model.config, rope_theta=10000.0)
    logits = assemble(model, tokens, state)
    model.config = held
    return logits


def _softmax(model, tokens, state):
    logits, state = assemble(model, tokens, state)
    return logits.softmax(-1), state


def _one_on(model, tokens, state):
    logits, new = assemble(model, tokens, state)
    return logits, State((state.position if state else 0) + 1, new.layers)


def by_hand(model, tokens, state, table=None, share=Shared, double=False, last=False, factor=1.0):
    """Run a Llama by hand: with another table, another third argument, another list of states, or a factor."""
    state = State(0, [(None, None)] * len(model.blocks)) if state is None else state
    T, config, x, layers = tokens.shape[1], model.config, factor * model.embed(tokens), []
    rows, first = table(state.position, T) if table else (T, state.position)
    cos, sin = rope_table(config.d_head, rows, config.rope_theta, offset=first, dtype=x.dtype)
    for block, layer in zip(model.blocks, state.layers, strict=False):
        y, new = block(x, layer, share(cos, sin))
        x = x + y if double else y
        layers.append(new)
    return model.head(model.norm(x)), State(state.position + T, layers[-1] if last else layers)


def partly(**left_out):
    """Return a forward of a Llama with one thing left out of `assemble`."""
    return lambda model, tokens, state=None: assemble(model, tokens, state, **left_out)


def _standing(model, tokens, state=None):
    logits, new = assemble(model, tokens, state)
    return logits, State(state.position if state else 0, new.layers)


def _handed_on(model, tokens, state=None):
    state = State(0, [(None, None)] * len(model.blocks)) if state is None else state
    T, config, x, layers = tokens.shape[1], model.config, model.embed(tokens), []
    shared = Shared(*rope_table(config.d_head, T, config.rope_theta, offset=state.position, dtype=x.dtype))
    kept = state.layers[0]
    for block in model.blocks:
        x, kept = block(x, kept, shared)
        layers.append(kept)
    return model.head(model.norm(x)), State(state.position + T, layers)


WRONG_MODELS = {
    "the position is still the old one: add T.": _standing,
    "each block has a state of its own: one block's is not the next one's.": _handed_on,
    "LLaMA reads the embedding as it is, without a factor.": lambda *given: by_hand(*given, factor=24**0.5),
    "the angles begin at 0 in each call: `offset=state.position`.": partly(offset=False),
    "the last norm before the head is missing.": partly(norm=False),
    "the blocks' new states are thrown away: collect them.": partly(keep=False),
    "the new position is the old one plus T.": partly(count=False),
    "the first block is used for all: walk over self.blocks.": partly(same=True),
    "the angles begin one too late: the first new token stands at state.position.": partly(late=1),
    "theta is not the config's.": _fixed_theta,
    "the state that came in is overwritten: begin anew only where it is None.": partly(fresh=True),
    "the head is missing: it makes the logits.": lambda model, tokens, state=None: model.hidden(tokens, state),
    "these are chances: a model gives logits, without a softmax.": _softmax,
    "the position grows by T, not by 1.": _one_on,
    "a block has added already: x = y, not x + y.": lambda *given: by_hand(*given, double=True),
    "the table has rows for the new tokens alone: `rope_table(..., T, ..., offset=...)`.": lambda *given: by_hand(
        *given, table=lambda position, T: (position + T, 0)
    ),
    "cos and sin are handed round as `Shared(cos, sin)`, not as a pair.": lambda *given: by_hand(
        *given, share=lambda cos, sin: (cos, sin)
    ),
    "the state of the last block alone is kept: collect one for each block.": lambda *given: by_hand(*given, last=True),
}


def _last_for_all(model, tokens, state=None):
    logits, new = assemble(model, tokens, state)
    return logits, State(new.position, [new.layers[-1]] * len(new.layers))


def _longer(model, tokens, state=None):
    logits, new = assemble(model, tokens, state)
    return logits, State(new.position, (state.layers if state else [(None, None)] * len(model.blocks)) + new.layers)


def _from_length(model, tokens, state=None):
    return by_hand(model, tokens, state, table=lambda position, T: (T, T))


def _from_end(model, tokens, state=None):
    return by_hand(model, tokens, state, table=lambda position, T: (T, position + T))


WRONG_FORWARDS = {
    "the state that came in is overwritten: begin anew only where it is None.": partly(fresh=True),
    "the state of the last block stands for all: collect one for each block.": _last_for_all,
    "half repaired: the states are kept now, but the angles still begin at 0.": partly(offset=False),
    "each block's new state is still thrown away: collect them in a list.": partly(keep=False),
    "the first block is used for all: walk over model.blocks.": partly(same=True),
    "the new position is the old one plus T.": partly(count=False),
    "the angles begin one too late: the first new token stands at state.position.": partly(late=1),
    "the last norm before the head is missing.": partly(norm=False),
    "the new states stand behind the old ones: return the new list alone.": _longer,
    "the angles begin at T: the first new token stands at state.position.": _from_length,
    "the angles begin at the new position: the first new token stands at the old one.": _from_end,
    "the position is still the old one: add T.": _standing,
}
