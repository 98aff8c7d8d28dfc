"""What is folded: layers, families of layers, pieces of the walk."""

from collections import Counter

from onnxwalk.interpreter.analysis.explore.groups import MAX_ITEMS, find_groups


def found(names):
    return find_groups(names, [1] * len(names))


def test_layers_are_groups_without_the_models_name():
    names = ["m/conv/Conv", "m/conv/Relu", "m/pool/MaxPool", "Transpose_1", "m/dense/a/MatMul"]
    names += ["m/dense/a/Add", "m/dense/b/Relu"]
    assert found(names) == [
        ("conv",),
        ("conv",),
        (),
        (),
        ("dense", "a"),
        ("dense", "a"),
        ("dense",),
    ]


def test_families_of_layers_where_there_are_many():
    names = [f"m/block_{k}_{part}/Op" for k in range(12) for part in ("expand", "depth", "project")]
    assert found(names) == [(f"block_{k}",) for k in range(12) for _ in range(3)]


def test_families_that_are_scattered_are_none():
    names = [f"m/{kind}_1_{k}/Op" for k in range(20) for kind in ("conv", "relu")]
    assert all("conv_1" not in path for path in found(names))


def test_nothing_is_ever_wide():
    for count in (31, 100, 1000, 10_000):
        names = [f"node_{k}" for k in range(count)]
        groups = found(names)
        inside = Counter()
        for path in set(groups):
            for depth in range(len(path)):
                inside[path[:depth]] += 0
        for above in inside:
            inside[above] = len({p[: len(above) + 1] for p in groups if p[: len(above)] == above})
        assert max(inside.values()) <= MAX_ITEMS, count


def test_pieces_are_cut_where_little_crosses():
    crossing = [3] * 60
    crossing[25] = 1
    names = [f"n{k}x" for k in range(60)]
    groups = find_groups(names, crossing)
    assert groups[24] == ("nodes 1–25",) and groups[25] != groups[24]
