from __future__ import annotations

import json
from collections.abc import Mapping, Sequence  # noqa: TC003  looked at when the tests run
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NamedTuple, Optional, Union

import pytest

from mqclient.errors import InterfaceError
from mqclient.typed import MismatchError, restorer, to_plain


class Kernel(Enum):
    RBF = "rbf"
    LINEAR = "linear"


class Level(IntEnum):
    LOW = 1


@dataclass
class Layer:
    width: int
    dropout: float = 0.0


@dataclass
class Job:
    name: str
    layers: list[Layer]
    kernel: Kernel = Kernel.RBF
    note: str | None = None
    old: Optional[int] = None  # noqa: UP045  the older form is understood too
    either: Union[int, str] = 0  # noqa: UP007
    shape: tuple[int, int] = (1, 1)
    seeds: tuple[int, ...] = ()
    tags: set[str] = field(default_factory=set)
    frozen: frozenset[int] = frozenset()
    table: dict[str, Layer] = field(default_factory=dict)
    by_epoch: dict[int, float] = field(default_factory=dict)
    mode: Literal["fast", 2] = "fast"
    anything: Any = None
    bare: list = field(default_factory=list)
    annotated: Annotated[int, "of a kind"] = 0
    rows: Sequence[int] = ()
    pairs: Mapping[str, int] = field(default_factory=dict)
    level: Level = Level.LOW
    is_last: bool = False
    computed: int = field(init=False, default=7)


@dataclass
class Tree:
    value: int
    children: list[Tree] = field(default_factory=list)


@dataclass
class Bounded:
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


def through_json(value: object) -> Any:
    return json.loads(json.dumps(value, default=to_plain))


def test_a_dataclass_comes_back_as_it_was():
    job = Job(
        "a",
        [Layer(8, 0.5), Layer(4)],
        kernel=Kernel.LINEAR,
        note="n",
        old=3,
        either="x",
        shape=(2, 3),
        seeds=(1, 2, 3),
        tags={"t"},
        frozen=frozenset({1}),
        table={"k": Layer(1)},
        by_epoch={1: 0.5},
        mode=2,
        anything=[1, "x"],
        bare=[1, None],
        annotated=4,
        rows=[1],
        pairs={"p": 1},
        is_last=True,
    )
    assert restorer(Job)(through_json(job), "body") == job
    assert "computed" not in through_json(job)


def test_defaults_and_self_reference():
    assert restorer(Job)({"name": "a", "layers": []}, "body") == Job("a", [])
    tree = Tree(1, [Tree(2), Tree(3, [Tree(4)])])
    assert restorer(Tree)(through_json(tree), "body") == tree


def test_an_integer_is_a_float_and_nothing_else_is_converted():
    made = restorer(Layer)({"width": 1, "dropout": 1}, "body")
    assert type(made.dropout) is float


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "body must be Job, not list"),
        ({"name": 1, "layers": []}, "body.name must be str, not int"),
        ({"name": "a", "layers": {}}, "body.layers must be an array, not dict"),
        (
            {"name": "a", "layers": [{"width": 1}, {"width": True}]},
            r"body.layers\[1\].width must be int, not bool",
        ),
        ({"name": "a", "layers": [{"width": 1.0}]}, "must be int, not float"),
        ({"name": "a", "layers": [], "kernel": "poly"}, "body.kernel must be Kernel, not str"),
        ({"name": "a", "layers": [], "note": 1}, "body.note must be str, not int"),
        ({"name": "a", "layers": [], "either": 1.5}, "body.either must be int or str, not float"),
        ({"name": "a", "layers": [], "shape": [1]}, "body.shape must be an array of 2"),
        ({"name": "a", "layers": [], "table": [1]}, "body.table must be a map"),
        ({"name": "a", "layers": [], "table": {"k": 1}}, r"body.table\['k'\] must be Layer"),
        ({"name": "a", "layers": [], "by_epoch": {"x": 1}}, "a key of body.by_epoch must be int"),
        ({"name": "a", "layers": [], "mode": "slow"}, "body.mode must be one of"),
        ({"name": "a", "layers": [], "is_last": 1}, "body.is_last must be bool, not int"),
        ({"name": "a", "layers": [], "leyers": []}, "has no field 'leyers'"),
        ({"name": "a", "layers": [], "computed": 1}, "has no field 'computed'"),
        ({"layers": []}, "body is no Job: .*name"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(value: object, text: str):
    with pytest.raises(MismatchError, match=text):
        restorer(Job)(value, "body")


def test_the_values_own_check_counts():
    with pytest.raises(MismatchError, match="low is above high"):
        restorer(Bounded)({"low": 2, "high": 1}, "body")


def test_types_other_than_dataclasses():
    assert restorer(list[int])([1, 2], "body") == [1, 2]
    assert restorer(dict)({"a": 1}, "body") == {"a": 1}
    assert restorer(None)(None, "body") is None
    assert restorer(Any)(1, "body") == 1
    assert restorer(tuple)([1, "x"], "body") == (1, "x")
    with pytest.raises(MismatchError):
        restorer(None)(1, "body")


class Pair(NamedTuple):
    a: int


@dataclass
class Bad:
    pair: Pair


@dataclass
class Missing:
    other: NoSuchType  # noqa: F821


@pytest.mark.parametrize("hint", [Pair, complex, Bad, Missing, list[complex], "Job"])
def test_a_type_that_is_not_known_is_refused_each_time(hint: object):
    for _ in range(2):
        with pytest.raises(InterfaceError):
            restorer(hint)


def test_to_plain_takes_no_types_and_no_other_objects():
    for value in (Job, object()):
        with pytest.raises(TypeError):
            to_plain(value)
