"""What a load wrote: whole, fused, tied and converted parameters; tensors that nothing reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch

from rlvr.weight_sync.load_record import MAX_COMPARED, LoadRecord

Tensors = dict[str, torch.Tensor]
Load = Callable[["Model", Iterable[tuple[str, torch.Tensor]]], None]

PARTS = {"q": slice(0, 4), "k": slice(4, 6), "v": slice(6, 8)}


class Model(torch.nn.Module):
    """An embedding with a head, tied or not, a fused weight, and rows of padding at the end."""

    def __init__(self, *, is_tied: bool) -> None:
        super().__init__()
        self.embed = torch.nn.Parameter(torch.zeros(6, 2))
        self.qkv = torch.nn.Parameter(torch.zeros(8, 2))
        self.norm = torch.nn.Parameter(torch.zeros(2))
        self.head = self.embed if is_tied else torch.nn.Parameter(torch.zeros(6, 2))


def sent() -> Tensors:
    """A checkpoint of the model; its vocabulary has 5 tokens."""
    generator = torch.Generator().manual_seed(0)
    sizes = {"embed": 5, "q": 4, "k": 2, "v": 2, "head": 5}
    tensors = {name: torch.randn(rows, 2, generator=generator) for name, rows in sizes.items()}
    tensors["norm"] = torch.randn(2, generator=generator)
    tensors["head"] = tensors["embed"].clone()
    return tensors


def load(model: Model, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """As loaders of vLLM do: parts into slices, padding with zeros, unknown biases left out."""
    for name, tensor in tensors:
        if name.endswith("bias"):
            continue
        if name in PARTS:
            model.qkv.data[PARTS[name]].copy_(tensor)
        elif name == "norm":
            model.norm.data.copy_(tensor)
        else:
            parameter = getattr(model, name)
            parameter[:5].data.copy_(tensor)
            parameter[5:].data.fill_(0)


def record_of(
    tensors: Tensors,
    *,
    model: Model | None = None,
    shares_tied: bool = True,
    load: Load = load,
) -> LoadRecord:
    model = model or Model(is_tied=False)
    record = LoadRecord(model, shares_tied=shares_tied)
    with record:
        load(model, record.watch((name, tensor.clone()) for name, tensor in tensors.items()))
    return record


def without(name: str) -> Tensors:
    return {key: tensor for key, tensor in sent().items() if key != name}


@pytest.mark.parametrize("is_tied", [True, False])
def test_a_whole_load_has_no_faults_and_the_model_holds_what_was_sent(is_tied: bool) -> None:
    record = record_of(sent(), model=Model(is_tied=is_tied))
    assert (record.not_loaded(), record.not_used()) == ([], [])
    compared = without("embed") if is_tied else sent()  # the head is written last
    assert record.compare(sent()) == dict.fromkeys(compared, True)


@pytest.mark.parametrize(
    ("left_out", "not_loaded"),
    [("norm", "norm"), ("k", "qkv (in part)"), ("v", "qkv (in part)"), ("head", "head")],
)
def test_what_was_not_sent_is_named_as_a_parameter(left_out: str, not_loaded: str) -> None:
    record = record_of(without(left_out))
    assert (record.not_loaded(), record.not_used()) == ([not_loaded], [])


def test_one_part_sent_twice_is_no_whole_parameter() -> None:
    def twice(model: Model, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
        for name, tensor in tensors:
            load(model, [(name, tensor), (name, tensor)])

    assert record_of(without("q"), load=twice).not_loaded() == ["qkv (in part)"]


def test_a_tensor_that_nothing_reads_is_named() -> None:
    record = record_of(sent() | {"q.bias": torch.zeros(2), "a.bias": torch.zeros(2)})
    assert (record.not_loaded(), record.not_used()) == ([], ["a.bias", "q.bias"])


def test_tied_parameters_need_one_load_where_they_share_their_storage() -> None:
    for name in ("embed", "head"):
        record = record_of(without(name), model=Model(is_tied=True))
        assert (record.not_loaded(), record.not_used()) == ([], [])

    def without_head(model: Model, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
        load(model, ((name, tensor) for name, tensor in tensors if name != "head"))

    skipped = record_of(sent(), model=Model(is_tied=True), load=without_head)
    assert (skipped.not_loaded(), skipped.not_used()) == ([], [])


def untied(model: Model, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """As in a layerwise reload: the parameters are apart while they are loaded."""
    kept = model.embed
    model.embed, model.head = (torch.nn.Parameter(torch.zeros(6, 2)) for _ in range(2))
    load(model, tensors)
    kept.data.copy_(model.embed.data)
    model.embed = model.head = kept


def test_tied_parameters_that_are_apart_during_the_load_need_two_where_copies_are_packed() -> None:
    for shares_tied, not_loaded in ((True, []), (False, ["head"])):
        model = Model(is_tied=True)
        record = record_of(without("head"), model=model, shares_tied=shares_tied, load=untied)
        assert record.not_loaded() == not_loaded
        whole = record_of(sent(), model=model, shares_tied=shares_tied, load=untied)
        assert (whole.not_loaded(), whole.not_used()) == ([], [])


def test_parameters_on_the_meta_device_are_watched_and_padding_may_be_declared() -> None:
    def on_meta(model: Model, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
        held = dict(model.named_parameters())
        for name, parameter in held.items():
            setattr(model, name, torch.nn.Parameter(parameter.to("meta")))
        buffered = list(tensors)  # this loader asks for all of them first
        model.norm.weight_loader_numel = 1  # type: ignore[assignment]
        load(model, [(name, tensor) for name, tensor in buffered if name != "norm"])
        model.norm.data[:1].copy_(dict(buffered)["norm"][:1])
        for name, parameter in held.items():
            setattr(model, name, parameter)
        load(model, buffered)

    record = record_of(without("head"), load=on_meta)
    assert (record.not_loaded(), record.not_used()) == (["head"], [])
    assert record.compare(sent()) == dict.fromkeys(without("head"), True)


def test_values_that_are_not_those_that_were_sent_are_found() -> None:
    model = Model(is_tied=False)
    record = record_of(sent(), model=model)
    model.qkv.data[5, 1] += 1e-7
    with torch.no_grad():
        model.norm.neg_()
    wrong = {name for name, is_same in record.compare(sent()).items() if not is_same}
    assert wrong == {"k", "norm"}


def test_converted_and_packed_tensors_are_not_compared() -> None:
    model = Model(is_tied=False)
    model.norm = torch.nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))

    def transformed(model: Model, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
        load(model, ((name, tensor) for name, tensor in tensors))
        model.embed.data.copy_(model.embed.data + 1)  # as vLLM does with some weights
        model.qkv = torch.nn.Parameter(torch.empty(0))  # packed

    record = record_of(sent(), model=model, load=transformed)
    assert (record.not_loaded(), record.not_used()) == ([], [])
    assert record.compare(sent()) == {"head": True, "embed": False}


def test_long_tensors_are_compared_in_some_of_their_rows() -> None:
    model = torch.nn.Linear(64, 4 * MAX_COMPARED // 64, bias=False)
    weight = torch.randn_like(model.weight)
    record = LoadRecord(model, shares_tied=True)
    with record:
        for _, tensor in record.watch([("weight", weight.clone())]):
            model.weight.data.copy_(tensor)
    model.weight.data[1] = 0.0
    assert record.compare({"weight": weight}) == {"weight": True}
    model.weight.data[4] = 0.0
    assert record.compare({"weight": weight}) == {"weight": False}
