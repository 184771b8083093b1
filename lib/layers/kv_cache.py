"""The KV cache, attention's state: the keys and values of all tokens so far, in a buffer that grows by doubling."""

import torch


class KVCache:
    """The keys and values of all tokens so far: `.keys` and `.values`, each (B, G, S, N).

    A cache never changes: `append` returns a longer one. Both share one buffer that doubles when it is full, so that S
    appends copy O(S) vectors in all, not O(S^2). A cache that was appended to twice copies at the second time.
    """

    def __init__(self, keys, values, buffer=None):
        self.keys, self.values = keys, values
        self.buffer = buffer

    def append(self, keys, values):
        """Return the cache that also holds keys and values: (B, G, T, N) each."""
        if self.keys.shape[0] != keys.shape[0]:
            raise ValueError(
                f"the cache holds {self.keys.shape[0]} sequences, the new tokens {keys.shape[0]}: start anew"
            )
        if torch.is_grad_enabled() and (keys.requires_grad or self.keys.requires_grad):
            return KVCache(torch.cat([self.keys, keys], 2), torch.cat([self.values, values], 2))
        S, T = self.keys.shape[2], keys.shape[2]
        buffer = self.buffer
        if buffer is None or not buffer.has_room(S, T):
            buffer = Buffer(self.keys, self.values, 2 * (S + T))
        return KVCache(*buffer.write(S, keys, values), buffer)


class Buffer:
    """Room for more keys and values than are there yet; `filled` tokens are written."""

    def __init__(self, keys, values, room):
        B, G, _, N = keys.shape
        self.keys, self.values = keys.new_empty(B, G, room, N), values.new_empty(B, G, room, N)
        self.filled = 0
        self.write(0, keys, values)

    def has_room(self, S, T):
        """Say whether T tokens fit behind the first S, and nobody else wrote there."""
        return self.filled == S and S + T <= self.keys.shape[2]

    def write(self, S, keys, values):
        """Write behind the first S tokens; return all keys and values so far, as views."""
        self.filled = S + keys.shape[2]
        self.keys[:, :, S : self.filled] = keys
        self.values[:, :, S : self.filled] = values
        return self.keys[:, :, : self.filled], self.values[:, :, : self.filled]
