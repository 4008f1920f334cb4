"""A device that is not there: tensors that say to be on it, with their numbers on the CPU.

It is called "meta", which torch knows everywhere, autograd included. Operations that mix its tensors with
others raise as they would between a CPU and a GPU, so that a constant made on the wrong device, or a way
through NumPy, is found without a GPU.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
_ACROSS = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class Elsewhere(torch.Tensor):
    """A tensor on the other device; `numbers` are its values, a tensor on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, numbers):
        made = torch.Tensor._make_wrapper_subclass(
            cls, numbers.size(), strides=numbers.stride(), dtype=numbers.dtype, device=DEVICE
        )
        made.numbers = numbers
        return made

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        raise RuntimeError(f"{operation} outside of OtherDevice()")


class OtherDevice(TorchDispatchMode):
    """While it is entered, operations on `Elsewhere` give `Elsewhere`, with the numbers of the CPU."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        known = {id(leaf.numbers): leaf for leaf in tensors if isinstance(leaf, Elsewhere)}
        # As on a GPU, a tensor of no dimensions may stay on the CPU.
        here = [leaf for leaf in tensors if not isinstance(leaf, Elsewhere) and leaf.dim()]
        if known and here and operation not in _ACROSS:
            raise RuntimeError(f"{operation} mixes devices")
        there = bool(known)
        if kwargs.get("device") is not None:
            there = torch.device(kwargs["device"]).type == DEVICE.type
            kwargs["device"] = torch.device("cpu")

        def enter(leaf):
            return leaf.numbers if isinstance(leaf, Elsewhere) else leaf

        def leave(leaf):
            if not (there and isinstance(leaf, torch.Tensor)):
                return leaf
            return known.get(id(leaf)) if id(leaf) in known else Elsewhere(leaf)

        return tree_map(leave, operation(*tree_map(enter, args), **tree_map(enter, kwargs)))
