"""The command ``python -m export study``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from onnxwalk.export.errors import ExportError, require, run_command
from onnxwalk.export.study.data import EXTRA, Source
from onnxwalk.export.study.language import LANGUAGES, catalogue, speaking
from onnxwalk.export.study.progress import Progress, show_progress
from onnxwalk.export.study.variants import FAMILIES, PRESETS, Variant, choose_variants
from onnxwalk.interpreter.cli._parser import Parser


def main(arguments: list[str]) -> int:
    """Run the command; 0, 1 for an error or a broken claim, 2 for wrong usage, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    return run_command(
        lambda: _study(options),
        debug=options.debug,
        stopped="interrupted; the same command continues",
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="onnxwalk-export study",
        description="Train the assignment's models in Keras, export them, and compare Keras, "
        "the interpreter and ONNX Runtime on the test set.",
    )
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=Path, default=Path("study"),
        help="output folder (default: study); a later run continues there",
    )  # fmt: skip
    parser.add_argument(
        "--preset", choices=PRESETS, default="quick",
        help="size of the study: full takes hours, quick 15 minutes, smoke 2 (default: quick)",
    )  # fmt: skip
    parser.add_argument(
        "--family", metavar="NAME", action="append", default=[],
        help=f"train only these: {', '.join(FAMILIES)} (default: all but GRU)",
    )  # fmt: skip
    parser.add_argument(
        "--variant", metavar="NAME", action="append", default=[],
        help="train only these, or those of a group (kernels, layers, …); --list shows them",
    )  # fmt: skip
    parser.add_argument(
        "--from-scratch",
        action="store_true",
        help="also train here, in NumPy alone, beside Keras, from the same initial weights and "
        "batches (without --variant: the final models only)",
    )
    parser.add_argument("--list", action="store_true", help="list the variants and exit")
    parser.add_argument("--seed", type=int, default=42, help="random seed (default: 42)")
    parser.add_argument("--epochs", type=int, help="number of epochs (default: the preset's)")
    parser.add_argument(
        "--data", metavar="DIR", type=Path,
        help="a folder with cifar10/{train,test}.zip (or folders of pictures by class) and "
        "nusax-sentiment/{train,valid,test}.csv",
    )  # fmt: skip
    parser.add_argument(
        "--download", action="store_true", help="without --data: let Keras download CIFAR-10"
    )
    parser.add_argument(
        "--nusax",
        metavar="URL",
        help="without --data: address of a folder with the three CSV files of NusaX",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="train nothing; write the results and the report of --output again",
    )
    parser.add_argument(
        "--docs", metavar="DIR", type=Path,
        help="also write the table and the figures there, as Markdown and SVG",
    )  # fmt: skip
    parser.add_argument(
        "--language", choices=LANGUAGES, default="en",
        help="of the report, its chapters and figures, and of --docs (default: en)",
    )  # fmt: skip
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _study(options: argparse.Namespace) -> int:
    names = options.variant or ["final"] * options.from_scratch
    chosen = choose_variants(options.family, names)
    if options.list:
        for variant in chosen:
            print(f"{variant.family:10} {variant.name:15} {dict(variant.settings)}")
        return 0
    if options.epochs is not None and options.epochs < 1:
        raise ExportError(f"--epochs {options.epochs}: must be at least 1")
    if options.seed < 0:
        raise ExportError(f"--seed {options.seed}: must be at least 0")
    require("sklearn", "onnxruntime", "threadpoolctl", "jinja2", "matplotlib", extra=EXTRA)
    catalogue(options.language)  # whatever is missing is missing now, not in hours
    with show_progress() as progress:
        if not options.report:
            _run(chosen, options, progress)
        return _report(options, progress)


def _run(chosen: list[Variant], options: argparse.Namespace, progress: Progress) -> None:
    """Train and evaluate the variants, but those that are done."""
    from onnxwalk.export.study.train import make_plan, prepare_tensorflow, train

    prepare_tensorflow()
    from onnxwalk.export.quiet import quiet
    from onnxwalk.export.study.evaluate import evaluate, write_results
    from onnxwalk.export.study.scratch import train_from_scratch
    from onnxwalk.export.study.store import locked_folder

    preset = PRESETS[options.preset]
    source = Source(preset, options.data, options.nusax, options.download)
    with quiet():
        for number, variant in enumerate(chosen, 1):
            task = source.task(variant.family, progress)
            epochs = options.epochs or preset.epochs[variant.family]
            plan = make_plan(variant, task, preset=options.preset, seed=options.seed, epochs=epochs)
            with locked_folder(options.output / variant.path):
                train(variant, task, plan, options.output, progress)
                record = evaluate(variant, task, options.output, progress)
                if options.from_scratch:
                    scratch = train_from_scratch(
                        variant, task, preset=options.preset, seed=options.seed, epochs=epochs,
                        output=options.output, progress=progress,
                    )  # fmt: skip
                    progress.say(_scratch_line(variant, scratch))
            write_results(options.output)
            progress.say(_line(variant, record, f"{number} of {len(chosen)}"))


def _line(variant: Variant, record: dict[str, Any], count: str) -> str:
    f1, size = record["f1"], record["count"]
    equal = size - record["labels_differ"]["onnxwalk"]
    return (
        f"{variant.path}  F1 {f1['onnxwalk']:.4f}, in Keras {f1['keras']:.4f}  "
        f"labels {equal}/{size}  off by {record['max_abs_diff']['onnxwalk']:.1e}  ({count})"
    )


def _scratch_line(variant: Variant, record: dict[str, Any]) -> str:
    runs = record["runs"]
    others = [f"{run['f1']:.4f} in {name}" for name, run in runs.items() if name != "onnxwalk"]
    return f"{variant.path} from scratch  F1 {runs['onnxwalk']['f1']:.4f}, {', '.join(others)}"


def _report(options: argparse.Namespace, progress: Progress) -> int:
    """Write results and report of the output folder; 1 if a claim is broken."""
    from onnxwalk.export.study.evaluate import write_results
    from onnxwalk.export.study.findings import find_broken_claims, read_results
    from onnxwalk.export.study.report import write_report

    results = read_results(options.output)
    if not results:
        raise ExportError(f"no evaluated variants in {options.output}")
    write_results(options.output)
    progress.say(f"{options.output / 'results.csv'}  {len(results)} variants")
    with speaking(options.language):
        progress.say(str(write_report(results, options.output, progress)))
        if options.docs is not None:
            from onnxwalk.export.study.docs import write_docs

            progress.say(str(write_docs(results, options.docs)))
    broken = find_broken_claims(results)
    for path, said in broken.items():
        print(f"error: {path}: {'; '.join(said)}", file=sys.stderr)
    return int(bool(broken))
