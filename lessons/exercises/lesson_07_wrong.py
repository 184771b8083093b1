"""Wrong blocks, one mistake each, for the checks of lesson 07."""

from lib.models.skeleton import Block


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
