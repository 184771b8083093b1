"""Several processes as one: each takes its rows of every batch, and all agree on losses, gradients and the checkpoint.

`torchrun` starts them. This is the only file that knows of them: what trains talks to a team, and one process is a team
too (`Alone`). Process r of n takes rows r, r + n, r + 2n, ... of a batch: the order of the data does not depend on n.
"""

import os
import sys
from contextlib import contextmanager, redirect_stdout

import torch
import torch.distributed as dist

from lib.run.device import pick_device


class Alone:
    """A team of one: nothing is shared, and nobody has to agree."""

    rank, size, sharded = 0, 1, False

    def share(self, batches):
        """Return the batches, of which a process takes its rows."""
        return batches

    def spread(self, module):
        """Return the module whose backward gives every process the gradients of all rows."""
        return module

    def mean(self, loss):
        """Return the mean of all processes' losses, a float."""
        return loss.item()

    def number(self, tensor):
        """Return a tensor of one element as a float, also where its parts lie in several processes."""
        return tensor.item()

    def agree(self, value):
        """Return the first process's value, in all of them."""
        return value

    def from_first(self, make):
        """Return what make() gives in the first process, in all of them; its ValueError or OSError is raised in all."""
        return make()

    def gather(self, tree):
        """Return nested dicts and lists with whole tensors, where each process holds a part."""
        return tree

    def load(self, model, optimizer, kept):
        """Take up whole tensors, as `gather` returns them: {"model": ..., "optimizer": ...}."""
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])

    def whole(self, model):
        """Return a model that one process holds."""
        return model


class Copies(Alone):
    """DDP: every process holds the model, and works on its rows; gradients are averaged."""

    def __init__(self):
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def share(self, batches):
        """Return batches of every n-th row."""
        return Rows(batches, self.rank, self.size)

    def spread(self, module):
        """Wrap the module in DistributedDataParallel."""
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(module)

    def mean(self, loss):
        """Average over the processes, which all have as many rows."""
        loss = loss.detach().clone()
        dist.all_reduce(loss)
        return loss.item() / self.size

    def agree(self, value):
        """Broadcast a plain value."""
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def from_first(self, make):
        """Broadcast what the first makes, or its error."""
        value, error = None, None
        if self.rank == 0:
            try:
                value = make()
            except (ValueError, OSError) as raised:
                error = raised
        value, error = self.agree((value, error))
        if error is not None:
            raise error
        return value


class Shards(Copies):
    """FSDP2: every process holds a part of each parameter and of the optimizer's state."""

    sharded = True

    def spread(self, module):
        """Shard each block, and what is left. The parameters become DTensors: build the optimizer afterwards.

        A block whose weights the model reads before it calls the block goes with what is left: those are whole from
        the module's beginning to its end, the weights of the others only while they are called.
        """
        from torch.distributed.fsdp import fully_shard

        early = set(module.model.read_early())
        for i, block in enumerate(module.model.blocks):
            if i not in early:
                fully_shard(block)
        return fully_shard(module)

    def number(self, tensor):
        """Put the parts together first."""
        return self.gather(tensor).item()

    def gather(self, tree):
        """All processes have to call it."""
        if isinstance(tree, dict):
            return {key: self.gather(value) for key, value in tree.items()}
        if isinstance(tree, list | tuple):
            return type(tree)(map(self.gather, tree))
        return tree.full_tensor() if hasattr(tree, "full_tensor") else tree

    def load(self, model, optimizer, kept):
        """Give each process its part; the optimizer's tensors lie as their parameters do."""
        state = {name: _part(kept["model"][name], here) for name, here in model.state_dict().items()}
        parts = []
        for part, saved in zip(optimizer.parts, kept["optimizer"]["parts"], strict=True):
            parameters = [p for group in part.param_groups for p in group["params"]]
            moments = {
                i: {name: _part(value, parameters[i]) for name, value in moment.items()}
                for i, moment in saved["state"].items()
            }
            parts.append({**saved, "state": moments})
        super().load(model, optimizer, {"model": state, "optimizer": {**kept["optimizer"], "parts": parts}})

    def whole(self, model):
        """Return a model with the gathered weights. All processes have to call it."""
        state = self.gather(model.state_dict())
        fresh = type(model)(model.config)
        fresh.load_state_dict(state)
        return fresh


class Rows:
    """Batches of which one process takes rows rank, rank + size, ...; `description` stays that of the whole."""

    def __init__(self, batches, rank, size):
        self.batches, self.rank, self.size = batches, rank, size
        self.description = getattr(batches, "description", {})

    def __getitem__(self, step):
        x, y = self.batches[step]
        if len(x) % self.size:
            raise ValueError(
                f"batches of {len(x)} rows can't be shared evenly by {self.size} processes: take a multiple"
            )
        return x[self.rank :: self.size], y[self.rank :: self.size]


def _part(tensor, like):
    """Return this process's part of a tensor, where `like` is one that is spread out; else the tensor."""
    if not hasattr(like, "full_tensor") or getattr(tensor, "shape", None) != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


@contextmanager
def team(shard=False, device=None):
    """Join the processes that torchrun started and give their team; without torchrun, `Alone`.

    Where another process dies, what this one raises says so. Only the first process prints.
    """
    if not dist.is_torchelastic_launched():
        if shard:
            raise ValueError("to shard a model takes several processes: torchrun --nproc_per_node=2 -m lib train ...")
        yield Alone()
        return
    cuda = pick_device(device).type == "cuda"
    if cuda:
        torch.cuda.set_device(dist.get_node_local_rank(fallback_rank=0))
    dist.init_process_group("nccl" if cuda else "gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere if rank else sys.stdout):
        try:
            yield Shards() if shard else Copies()
        except RuntimeError as error:
            if not any(word in str(error) for word in ("onnection", "NCCL", "gloo", "peer")):
                raise
            raise ConnectionError(
                f"process {rank} of {size}: another one is gone ({str(error).splitlines()[0][:200]}). "
                "The last checkpoint stands: the same command goes on from there with --resume"
            ) from error
    dist.destroy_process_group()
