"""The models that are trained, the groups that compare them, and the size of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnxwalk.export.errors import ExportError
from onnxwalk.export.study import assignment
from onnxwalk.export.study.language import later
from onnxwalk.export.study.language import translate as _

FAMILIES = ("CNN", "SimpleRNN", "LSTM", "GRU")

#: trained if no family is named
DEFAULT_FAMILIES = FAMILIES[:3]


@dataclass(frozen=True)
class Variant:
    """One model: ``settings`` are those of ``assignment.cnn`` or ``assignment.recurrent``."""

    family: str
    name: str
    settings: Mapping[str, Any]
    on_request: bool = False  # trained only when named

    @property
    def path(self) -> str:
        """Where its files are, below the output folder."""
        return f"{self.family.lower()}/{self.name}"

    @property
    def batch(self) -> int:
        return 64 if self.family == "CNN" else 32

    def build(self, shape: Any, classes: int, words: int = assignment.WORDS) -> Any:
        """The untrained Keras model for samples of this shape."""
        if self.family == "CNN":
            return assignment.cnn(**self.settings, shape=shape, classes=classes)
        kind: Any = self.family
        (length,) = shape
        return assignment.recurrent(
            kind, **self.settings, words=words, length=length, classes=classes
        )


@dataclass(frozen=True)
class Group:
    """Variants that differ in one thing: label -> name. One variant can be in several groups."""

    family: str
    name: str
    _title: str
    _members: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return _(self._title)

    @property
    def members(self) -> dict[str, str]:
        return {_(label): name for label, name in self._members.items()}


def _cnn_variants() -> list[Variant]:
    """Cheap ones first: the order of the list is the order of training."""

    def cnn(name: str, filters: Sequence[int] = (32, 64), **more: Any) -> Variant:
        on_request = more.pop("on_request", False)
        return Variant("CNN", name, {"filters": tuple(filters), **more}, on_request)

    return [
        cnn("conv-32", (32,)),
        cnn("conv-32-32", (32, 32)),
        cnn("conv-32-32-32", (32, 32, 32)),
        cnn("conv-16-32", (16, 32)),
        cnn("conv-32-64"),
        cnn("conv-64-128", (64, 128)),
        cnn("average", pooling="average"),
        cnn("final", head="flatten"),
        cnn("kernel-7", kernels=7),
        cnn("kernel-15", kernels=15),
        *(cnn(f"kernel-{side}", kernels=side, on_request=True) for side in (5, 10, 20)),
    ]


def _text_variants(family: str) -> list[Variant]:
    """The mask is the LSTM's (and the GRU's): SimpleRNN reads the padding, as in the assignment."""

    def text(name: str, layers: int = 1, units: int = 64, both: bool = False) -> Variant:
        settings = {"layers": layers, "units": units, "bidirectional": both}
        return Variant(family, name, {**settings, "mask_zero": family != "SimpleRNN"})

    return [
        text("1x32", units=32),
        text("1x64"),
        text("1x128", units=128),
        text("2x64", layers=2),
        text("3x64", layers=3),
        text("final", both=True),
    ]


def _groups(family: str) -> list[Group]:
    if family == "CNN":
        members: dict[tuple[str, str], dict[str, str]] = {
            ("convolutions", later("How many convolutions")): {
                "1 × 32": "conv-32",
                "2 × 32": "conv-32-32",
                "3 × 32": "conv-32-32-32",
            },
            ("filters", later("How many filters")): {
                "16-32": "conv-16-32",
                "32-64": "conv-32-64",
                "64-128": "conv-64-128",
            },
            ("kernels", later("Size of the kernels")): {
                "3 × 3": "conv-32-64",
                "5 × 5": "kernel-5",
                "7 × 7": "kernel-7",
                "10 × 10": "kernel-10",
                "15 × 15": "kernel-15",
                "20 × 20": "kernel-20",
            },
            ("pooling", later("Kind of pooling")): {
                later("max"): "conv-32-64",
                later("average"): "average",
            },
            ("head", later("The final model")): {
                later("global average"): "conv-32-64",
                later("final"): "final",
            },
        }
    else:
        members = {
            ("layers", later("How many layers")): {
                later("1 layer"): "1x64",
                later("2 layers"): "2x64",
                later("3 layers"): "3x64",
            },
            ("cells", later("How many cells")): {"32": "1x32", "64": "1x64", "128": "1x128"},
            ("directions", later("One direction against two")): {
                later("one"): "1x64",
                later("two (final)"): "final",
            },
        }
    return [Group(family, name, title, m) for (name, title), m in members.items()]


VARIANTS = (*_cnn_variants(), *(v for family in FAMILIES[1:] for v in _text_variants(family)))
GROUPS = tuple(group for family in FAMILIES for group in _groups(family))


@dataclass(frozen=True)
class Preset:
    """The size of a study. None: no limit."""

    epochs: Mapping[str, int]
    per_class: int | None = None  # pictures for training and validation
    test_per_class: int | None = None
    sentences: int = 2000  # of the generated corpus, for training


PRESETS = {
    "full": Preset({"CNN": 10, "SimpleRNN": 15, "LSTM": 10, "GRU": 10}),
    "quick": Preset({"CNN": 5, "SimpleRNN": 8, "LSTM": 5, "GRU": 5}, 500, 100, 1000),
    "smoke": Preset({"CNN": 4, "SimpleRNN": 4, "LSTM": 4, "GRU": 4}, 100, 30, 320),
}


def choose_variants(families: Sequence[str] = (), names: Sequence[str] = ()) -> list[Variant]:
    """The variants of these families whose name, or one of whose groups, is among ``names``.

    In the order of training: recurrent ones first, the slowest last. Without families
    ``DEFAULT_FAMILIES``, without names all but those ``on_request``.

    Raises ExportError for an unknown family or name, or if no variant fits both.
    """
    by_lower_case = {family.lower(): family for family in FAMILIES}
    if unknown := [f for f in families if f.lower() not in by_lower_case]:
        raise ExportError(f"unknown family {unknown[0]!r}: choose from {', '.join(FAMILIES)}")
    families_chosen = {by_lower_case[f.lower()] for f in families} or set(DEFAULT_FAMILIES)
    groups = {
        (group.family, group.name, name) for group in GROUPS for name in group.members.values()
    }
    known = {v.name for v in VARIANTS} | {name for _, name, _ in groups}
    if unknown := [name for name in names if name not in known]:
        raise ExportError(f"unknown variant {unknown[0]!r}: choose from {', '.join(sorted(known))}")

    def is_chosen(v: Variant) -> bool:
        if not names:
            return not v.on_request
        in_groups = any((v.family, name, v.name) in groups for name in names)
        return v.name in names or (in_groups and not v.on_request)

    chosen = [v for v in VARIANTS if v.family in families_chosen and is_chosen(v)]
    if not chosen:
        raise ExportError(
            f"no variant of {', '.join(sorted(families_chosen))} is {' or '.join(names)}"
        )
    return sorted(chosen, key=lambda v: v.family == "CNN")
