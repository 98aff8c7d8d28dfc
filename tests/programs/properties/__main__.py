"""Many small random models: is the exported file what ``predict`` gives?

    python -m tests.programs.properties [--count 10000] [--seed 0] [--output FOLDER]
    python -m tests.programs.properties --replay FILE

Models are drawn by hypothesis from functions of ``keras.ops`` and layers (``operations.py``),
exported, and run on random and special inputs. Printed are the numbers of models that are right,
refused (by reason), wrong, and unused (Keras builds them but can't run them). A wrong one is cut
shorter and saved in FOLDER, and ``--replay`` judges it again. Ctrl-C ends it with what there is.
Exit status 1 if one is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

#: models that one process judges: TensorFlow keeps memory of each
_PART = 200


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 1 if a model is wrong."""
    args = _parser().parse_args(argv)
    if args.replay:
        return _replay(args.replay)
    if args.part:
        for result in judge_many(args.count, args.seed):
            print(json.dumps(result), flush=True)
        return 0
    kinds: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    try:
        for start in range(0, args.count, _PART):
            count = min(_PART, args.count - start)
            for result in _in_process(count, args.seed * 1_000_000 + start):
                kinds[result["kind"]] += 1
                if result["kind"] == "wrong":
                    _save(args.output, result, kinds["wrong"])
                elif result["kind"] != "right":
                    reasons[f"{result['kind']}: {result['reason']}"] += 1
            print(_line(kinds), file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("properties: stopped", file=sys.stderr)
    print(_line(kinds))
    for reason, count in reasons.most_common():
        print(f"{count:6d}  {reason}")
    return int(kinds["wrong"] > 0)


def judge_many(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """The verdicts of so many models, as plain data; wrong ones are cut shorter."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as with_seed

    from tests.programs.properties.judging import judge, shrink, summarize
    from tests.programs.properties.recipes import Recipe, recipes

    drawn: list[Recipe] = []

    @with_seed(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(recipes())
    def draw(recipe: Recipe) -> None:
        drawn.append(recipe)

    draw()
    for recipe in drawn:
        verdict = judge(recipe)
        result = {"kind": verdict.kind, "reason": summarize(verdict.why)}
        if verdict.kind == "wrong":
            shorter, why = shrink(recipe)
            result |= {"why": why.why, "recipe": shorter.as_data(), "whole": recipe.as_data()}
        yield result


def _in_process(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """``judge_many`` in a process of its own; a model that ends it is wrong."""
    command = [sys.executable, "-m", "tests.programs.properties", "--part"]
    command += ["--count", str(count), "--seed", str(seed)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            yield json.loads(line)
    finally:
        process.stdout.close()
        if process.poll() is None and process.wait() < 0:
            process.kill()
    if process.returncode:
        yield {"kind": "wrong", "reason": "ended", "why": f"seed {seed}: exit {process.returncode}"}


def _save(folder: Path, result: dict[str, Any], number: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"wrong-{number}.json"
    path.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(f"{path}: {result['why']}", file=sys.stderr, flush=True)


def _replay(path: Path) -> int:
    from tests.programs.properties.judging import judge
    from tests.programs.properties.recipes import Recipe

    verdict = judge(Recipe.from_data(json.loads(path.read_text("utf-8"))["recipe"]))
    print(f"{verdict.kind} {verdict.why}".strip())
    return int(verdict.kind == "wrong")


def _line(kinds: Counter[str]) -> str:
    parts = (f"{kinds[kind]:,} {kind}" for kind in ("right", "refused", "wrong", "unused"))
    return f"{kinds.total():,} models: {', '.join(parts)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs.properties",
        description="Export many small random models and hold each file against predict.",
    )
    parser.add_argument("--count", type=int, default=10_000, metavar="N", help="models")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--output", type=Path, default=Path("wrong-models"), metavar="FOLDER", help="for wrong ones"
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="judge a saved model again")
    parser.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
