"""A record of a load: to which place of which parameter each sent tensor was copied.

    record = LoadRecord(model, shares_tied=...)
    with record:
        worker.reload_weights(weights_iterator=record.watch(tensors))
    record.not_loaded()   parameters that were not written, or in part
    record.not_used()     sent tensors that no operation read
    record.compare(sent)  whether the places hold the values of the sent tensors now

vLLM only logs a parameter that was not loaded, and nothing where a part of a fused parameter is
missing or where a loader skips a tensor. The record does not depend on its bookkeeping: it sees the
operations of torch. When vLLM asks for the first tensor, the parameters have the form of a
checkpoint (on the meta device in a layerwise reload), also those that it otherwise keeps packed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["LoadRecord"]

WRITES = {
    torch.ops.aten.copy_.default,
    torch.ops.aten.fill_.Scalar,
    torch.ops.aten.fill_.Tensor,
    torch.ops.aten.zero_.default,
}
MAX_COMPARED = 1 << 16  # elements of a copy, in evenly spaced rows


@dataclass(frozen=True, slots=True)
class _View:
    """A part of a tensor, as arguments of `as_strided`; the offset is relative to the tensor's."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return this part of a tensor."""
        offset = tensor.storage_offset() + self.offset
        return tensor.detach().as_strided(self.size, self.stride, offset)


@dataclass(frozen=True, slots=True)
class _Source:
    """A sent tensor, or a part of it, that was copied as it is."""

    name: str
    view: _View


class LoadRecord(TorchDispatchMode):
    """Records, in a `with` block, what the tensors from `watch` are used for.

    shares_tied: whether one load serves tied parameters. It does not where layers keep packed
    copies of their weights, as on a CPU: there each of them needs its own.
    """

    def __init__(self, model: torch.nn.Module, *, shares_tied: bool) -> None:
        super().__init__()
        self._model = model
        self._names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        self._tied = _tied(model) if shares_tied else {}
        self._parameters: dict[int, tuple[str, torch.Tensor]] = {}  # by storage
        self._writes: dict[str, dict[_View, _Source | None]] = {}  # parameter -> by whom written
        self._sent: dict[int, str] = {}  # by storage
        self._sent_storages: list[StorageWeakRef] = []  # keep the keys of `_sent` unique
        self._unread: set[str] = set()
        self.last = ""  # sent tensor; the one at which a load has failed

    def watch(
        self, tensors: Iterable[tuple[str, torch.Tensor]]
    ) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield named tensors, each with a storage of its own, to load into the model."""
        self._tied |= _tied(self._model)
        for name, parameter in self._model.named_parameters():
            if name in self._names and not is_lazy(parameter):
                self._parameters[_storage(parameter)] = (name, parameter)
                self._writes[name] = {}
        for name, tensor in tensors:
            self._sent[_storage(tensor)] = name
            self._sent_storages.append(StorageWeakRef(tensor.untyped_storage()))
            self._unread.add(name)
            self.last = name
            yield name, tensor

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation of torch, and note which sent tensors it reads and what it writes."""
        leaves = tree_leaves((args, kwargs or {}))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        self._unread -= {self._sent.get(_storage(tensor), "") for tensor in tensors}
        if func in WRITES:
            self._write(*tensors[:2])
        return func(*args, **(kwargs or {}))

    def _write(self, target: torch.Tensor, source: torch.Tensor | None = None) -> None:
        name, parameter = self._parameters.get(_storage(target), ("", target))
        if not name:
            return
        sent = self._sent.get(_storage(source)) if source is not None else None
        is_plain = source is not None and (source.shape, source.dtype) == (
            target.shape,
            target.dtype,
        )
        view = _view_of(target, parameter)
        self._writes[name][view] = _Source(sent, _view_of(source)) if sent and is_plain else None

    def not_loaded(self) -> list[str]:
        """Return the parameters that were not written, or in part."""
        loaded = self._loaded()
        return [
            f"{name} (in part)" if self._writes[name] else name
            for name, _ in self._parameters.values()
            if self._tied.get(name, name) not in loaded
        ]

    def not_used(self) -> list[str]:
        """Return the sent tensors that no operation read, but for those of tied parameters."""
        loaded = self._loaded()
        return sorted(name for name in self._unread if self._tied.get(name) not in loaded)

    def compare(self, sent: Mapping[str, torch.Tensor]) -> dict[str, bool]:
        """Return whether the places to which each sent tensor was copied hold its values.

        Rows of at most MAX_COMPARED elements are compared, bitwise. A tensor is left out if it was
        converted, or if its parameter no longer has the form of the checkpoint.
        """
        held = dict(self._model.named_parameters(remove_duplicate=False))
        found: dict[str, bool] = {}
        for name, parameter in self._parameters.values():
            if not _has_same_form(held[name], parameter):
                continue
            for view, source in self._writes[name].items():
                if source is not None:
                    copy, original = view.of(held[name]), source.view.of(sent[source.name])
                    found[source.name] = found.get(source.name, True) & _is_same(copy, original)
        return found

    def _loaded(self) -> set[str]:
        """Names of the parameters of which every element was written; for tied ones, the first."""
        return {
            self._tied.get(name, name)
            for name, parameter in self._parameters.values()
            if sum(math.prod(view.size) for view in self._writes[name]) >= _num_loaded(parameter)
        }


def _tied(model: torch.nn.Module) -> dict[str, str]:
    """Return the names of tied parameters, each with the first name of the same parameter."""
    groups: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    return {name: names[0] for names in groups.values() if len(names) > 1 for name in names}


def _storage(tensor: torch.Tensor) -> int:
    """Return a key of the tensor's storage, unique while that lives; 0 without a storage."""
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else 0


def _view_of(tensor: torch.Tensor, whole: torch.Tensor | None = None) -> _View:
    start = 0 if whole is None else whole.storage_offset()
    return _View(tuple(tensor.shape), tensor.stride(), tensor.storage_offset() - start)


def _num_loaded(parameter: torch.Tensor) -> int:
    """Return how many elements of a parameter a checkpoint has; vLLM may declare padding."""
    return getattr(parameter, "weight_loader_numel", parameter.numel())


def _has_same_form(held: torch.Tensor, loaded: torch.Tensor) -> bool:
    forms = [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in (held, loaded)]
    return forms[0] == forms[1]


def _is_same(copy: torch.Tensor, original: torch.Tensor) -> bool:
    step = -(-copy.numel() // MAX_COMPARED)
    rows = [tensor[::step] if tensor.dim() and step else tensor for tensor in (copy, original)]
    one, other = (row.to(copy.device).contiguous().reshape(-1).view(torch.uint8) for row in rows)
    return torch.equal(one, other)
