"""Right answers to the exercises of lesson 16, written in other ways: the check must let them through."""

from lib.run import cost
from lib.teach.check import right


@right("16.2")
def weights_then_memory(config, context, batch=1):
    """The weights are shared by the batch, the memory is each text's own."""
    table = config.vocab_size * config.d_model
    read_once = 2 * (cost.n_parameters(config) - table * (not config.tied))
    return (read_once + batch * (cost.state_bytes(config, context) + cost.state_bytes(config, 1))) / batch


@right("16.3")
def one_function_for_both(other, ours, context, batch):
    """Both needs of each model, then both quotients."""
    needs = [
        (cost.decode_flops(config, context).total, cost.bytes_per_token(config, context, batch))
        for config in (other, ours)
    ]
    return tuple(theirs / mine for theirs, mine in zip(*needs, strict=True))


@right("16.3")
def for_the_whole_batch(other, ours, context, batch):
    """The factor of the batch stands above and below."""
    flops = batch * cost.decode_flops(other, context).total / (batch * cost.decode_flops(ours, context).total)
    moved = [batch * cost.bytes_per_token(config, context, batch) for config in (other, ours)]
    return flops, moved[0] / moved[1]


@right("16.4")
def by_doubling(config, room, batch=1):
    """Twice as long until it does not fit, then bit by bit from the highest."""
    left, tokens = room - cost.weight_bytes(config), 0
    if cost.state_bytes(config, 2**45, batch) <= left:
        return None
    for bit in reversed(range(45)):
        if cost.state_bytes(config, tokens + 2**bit, batch) <= left:
            tokens += 2**bit
    return tokens
