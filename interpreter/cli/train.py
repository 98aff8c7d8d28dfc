"""``onnxwalk train``: train a model on files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onnxwalk.interpreter.cli import _plot, _show
from onnxwalk.interpreter.cli._arguments import (
    add_command,
    add_integer,
    add_repeated,
    non_negative_number,
    positive_number,
)
from onnxwalk.interpreter.cli._feeds import add_table_options, get_table_options, read_inputs
from onnxwalk.interpreter.cli._pixels import add_pixels, get_pixels
from onnxwalk.interpreter.cli._progress import progress
from onnxwalk.interpreter.cli._session import add_session, open_session
from onnxwalk.interpreter.cli._training import (
    Reporter,
    describe,
    labels_of_folders,
    read_labels,
)
from onnxwalk.interpreter.errors import InvalidInputError, NotFiniteError
from onnxwalk.interpreter.files import check_folder, check_writable, write_file
from onnxwalk.interpreter.rows.texts import read_texts
from onnxwalk.interpreter.session import Session
from onnxwalk.interpreter.text import class_names
from onnxwalk.interpreter.training import (
    Adagrad,
    Adam,
    Callback,
    Checkpoint,
    EarlyStopping,
    Fit,
    Optimizer,
    Trainer,
)
from onnxwalk.interpreter.training.losses import LOSSES
from onnxwalk.interpreter.training.optimizers import find_optimizer

_DESCRIPTION = """\
Train a model, and write it with the trained weights: the same graph, which any other program runs.

FILE of --data may be .npy, .npz, .json, a table (x=table.csv:age,pay are two of its columns), an
image or a folder of images, as for run; texts come by --text-file. --labels is a .npy or .npz
file, a table with a column "label" (or --label-column), which may be that of --data, or text with
one label per line; labels are numbers or names of classes. Without --labels the images of a
folder belong to the classes that the folders in it are named after.

A file that onnxwalk-export has written with --trainable has all that training needs: each variable
by its name in Keras, Dropout and BatchNormalization. In other files the weights are the
initializers that operators read as such.

Ctrl-C ends the training after the batch that is being computed; what was trained so far is written.
"""

_EPILOG = """\
Exit status: 0, 1 after an error, 130 after Ctrl-C.
"""


def add_parser(commands: Any) -> None:
    """Add ``train`` to the commands."""
    parser = add_command(
        commands, "train", run, "train a model on files", _DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument("model", metavar="MODEL", help="an .onnx file")
    text = "inputs; NAME can be left out if there is only one"
    add_repeated(parser, "--data", metavar="[NAME=]FILE", help=text)
    text = "texts, for a model with a vocabulary: .csv, or one text per line"
    add_repeated(parser, "--text-file", metavar="[NAME=]FILE", help=text)
    parser.add_argument("--column", metavar="NAME", help="column of a .csv file of texts")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="the labels")
    parser.add_argument("--label-column", metavar="NAME", help="column of a .csv file of labels")
    parser.add_argument(
        "--loss",
        default="sparse_categorical_crossentropy",
        metavar="NAME",
        help=f"{', '.join(LOSSES)}, or an output of the model that is a scalar (default: "
        "sparse_categorical_crossentropy)",
    )
    parser.add_argument("--from-logits", action="store_true", help="the output is logits")
    parser.add_argument("--of", metavar="OUTPUT", help="the output, if there are several")
    parser.add_argument(
        "--optimizer", default="Adam", metavar="NAME", help="SGD, Momentum, Adam (default), Adagrad"
    )
    parser.add_argument("--lr", type=positive_number, metavar="R", help="learning rate")
    parser.add_argument("--momentum", type=non_negative_number, metavar="A", help="of SGD")
    parser.add_argument(
        "--decay", type=non_negative_number, metavar="D", help="norm_coefficient of the optimizer"
    )
    add_integer(parser, "--epochs", "epochs", default=1)
    add_integer(parser, "--batch", "samples of a batch", default=32)
    parser.add_argument(
        "--validation",
        metavar="SHARE|FILE",
        help="a share of the data, from its end, as 0.2; or a file as for --data or --text-file, "
        "with --validation-labels",
    )
    parser.add_argument("--validation-labels", type=Path, metavar="FILE", help="its labels")
    text = "weights or layers that aren't trained, as in 'conv*'"
    add_repeated(parser, "--frozen", metavar="PATTERN", help=text)
    add_repeated(parser, "--metric", metavar="NAME", help="accuracy or macro_f1")
    add_integer(
        parser, "--early-stopping",
        "end when the validation loss (without one: the loss) hasn't improved for N epochs, with "
        "the weights of the best one",
    )  # fmt: skip
    add_integer(parser, "--seed", "seed of the order and of dropout", least=0)
    parser.add_argument("--no-shuffle", action="store_true", help="keep the order of the data")
    add_table_options(parser)
    add_pixels(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="MODEL2", required=True, help="the trained model"
    )
    parser.add_argument("--history", type=Path, metavar="FILE", help="write the history as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the loss: .svg, .png, .pdf")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="after each epoch, and after Ctrl-C, write all that --resume needs",
    )
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="go on from a checkpoint, with the same data and settings, as if it hadn't ended",
    )
    add_session(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command. Raises OnnxWalkError."""
    _check_files(args)
    session = open_session(args)
    data = _read(session, args, args.data, args.text_file, args.labels)
    trainer = Trainer(
        session,
        loss=args.loss,
        optimizer=_optimizer(args),
        output=args.of,
        from_logits=args.from_logits,
        metrics=args.metric,
        frozen=args.frozen,
        seed=args.seed,
    )
    fit = Fit(
        trainer,
        data,
        epochs=args.epochs,
        batch_size=args.batch,
        callbacks=_callbacks(args),
        shuffle=not args.no_shuffle,
        **_validation(session, args),
    )
    if args.resume is not None:
        fit.resume(args.resume)
    try:
        with progress("") as bar:
            fit.callbacks.insert(0, Reporter(args.epochs, bar))
            fit.run()
    except KeyboardInterrupt:
        if not fit.is_whole:
            raise
        _write_all(args, trainer, fit)
        _say_stopped(args, fit)
        return 130
    except Exception:
        _rescue(args, trainer, fit)
        raise
    _write_all(args, trainer, fit)
    last = {name: values[-1] for name, values in fit.history.items()}
    _show.line(f"{args.output}: {_show.count(trainer.steps, 'step')}, {describe(last)}")
    return 0


def _check_files(args: argparse.Namespace) -> None:
    """Raise InvalidInputError for what can't be written, before anything is computed."""
    options = {
        "--output": args.output, "--history": args.history, "--checkpoint": args.checkpoint,
        "--plot": args.plot,
    }  # fmt: skip
    seen: dict[Path, str] = {}
    for option, path in options.items():
        if path is None:
            continue
        check_folder(path)
        check_writable(path)
        if (other := seen.setdefault(path.resolve(), option)) != option:
            raise InvalidInputError(f"{other} and {option} are the same file, {path}")
    if args.plot is not None:
        _plot.check(args.plot)
    is_file = args.validation is not None and not _is_number(args.validation)
    if args.validation_labels is not None and not is_file:
        raise InvalidInputError("--validation-labels is for a file of --validation")
    if args.column is not None and not args.text_file:
        raise InvalidInputError("--column is of a file of --text-file")
    if args.label_column is not None and args.labels is None:
        raise InvalidInputError("--label-column is of a file of --labels")
    if not args.data and not args.text_file:
        raise InvalidInputError("pass --data FILE or --text-file FILE")


def _read(
    session: Session, args: argparse.Namespace, files: list[str], texts: list[str],
    labels: Path | None, option: str = "--labels",
) -> Any:  # fmt: skip
    """Inputs and labels; inputs alone for a loss that is an output of the model."""
    options = get_table_options(args)
    feeds = read_inputs(session, files, get_pixels(args), options=options)
    feeds |= read_texts(session, [], texts, args.column, options)
    x = {name: feed.read() for name, feed in feeds.items()}
    stored = list(class_names(session.model.metadata).values())
    names = stored[0] if stored else []
    if labels is not None:
        return x, read_labels(labels, args.label_column, names, options)
    folders = [Path(text.partition("=")[2] or text) for text in files]
    found = [folder for folder in folders if folder.is_dir()]
    if found:
        return x, labels_of_folders(found[0], names)
    if args.loss in {info.name for info in session.outputs}:
        return x
    raise InvalidInputError(f"loss {args.loss} needs labels: pass {option} FILE")


def _optimizer(args: argparse.Namespace) -> Optimizer:
    found: Any = type(find_optimizer(args.optimizer))
    given = {"learning_rate": args.lr, "momentum": args.momentum, "norm_coefficient": args.decay}
    if args.momentum is not None and found in (Adam, Adagrad):
        raise InvalidInputError(f"--momentum is of SGD and Momentum, not of {found.__name__}")
    optimizer: Optimizer = found(**{n: v for n, v in given.items() if v is not None})
    return optimizer


def _callbacks(args: argparse.Namespace) -> list[Callback]:
    found: list[Callback] = []
    if args.early_stopping is not None:
        monitor = "loss" if args.validation is None else "val_loss"
        found.append(
            EarlyStopping(monitor, patience=args.early_stopping, restore_best_weights=True)
        )
    if args.checkpoint is not None:
        found.append(Checkpoint(args.checkpoint))
    return found


def _validation(session: Session, args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``Fit`` for ``--validation``."""
    if args.validation is None:
        return {}
    if not _is_number(args.validation):
        is_text = bool(args.text_file)
        files, texts = ([], [args.validation]) if is_text else ([args.validation], [])
        labels = args.validation_labels
        return {"validation": _read(session, args, files, texts, labels, "--validation-labels")}
    share = float(args.validation)
    if not 0 < share < 1:
        raise InvalidInputError(f"--validation {args.validation}: expected a share between 0 and 1")
    return {"validation_split": share}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _write(args: argparse.Namespace, trainer: Trainer, fit: Fit) -> dict[Path, str]:
    """Write all files; returns what can't be written, and why."""
    writes: dict[Path, Callable[[], None]] = {args.output: lambda: trainer.save(args.output)}
    if args.checkpoint is not None:
        writes[args.checkpoint] = lambda: fit.save(args.checkpoint)
    if args.history is not None:
        text = json.dumps(fit.history, indent=1) + "\n"
        writes[args.history] = lambda: write_file(args.history, text)
    if args.plot is not None and fit.history:
        losses = {n: v for n, v in fit.history.items() if n in ("loss", "val_loss")}
        title = f"loss of {Path(args.model).name}"
        writes[args.plot] = lambda: _plot.curves(args.plot, title, losses, "epoch")
    failed = {}
    for path, write in writes.items():
        try:
            write()
        except InvalidInputError as error:
            failed[path] = str(error)
    return failed


def _write_all(args: argparse.Namespace, trainer: Trainer, fit: Fit) -> None:
    """Write all files. Raises InvalidInputError for those that can't be, after the others."""
    if failed := _write(args, trainer, fit):
        raise InvalidInputError("; ".join(failed.values()))


def _rescue(args: argparse.Namespace, trainer: Trainer, fit: Fit) -> None:
    """After an error, write what was trained, and say so."""
    if not trainer.steps:
        return
    try:
        trainer.check_finite()
    except NotFiniteError:
        text = f"{args.output} isn't written: its weights would be NaN or infinite"
    else:
        failed = _write(args, trainer, fit)
        text = failed.get(args.output) or f"{args.output} has what was trained until then"
    print(f"onnxwalk: {_show.printable(text)}", file=sys.stderr)


def _say_stopped(args: argparse.Namespace, fit: Fit) -> None:
    where = f"in epoch {fit.epoch + 1} of {args.epochs}, after {_show.count(fit.batch, 'batch')}"
    if fit.epoch >= args.epochs:
        where = "after the last epoch"
    text = f"onnxwalk: stopped {where}: {args.output} has what was trained so far"
    if args.checkpoint is not None:
        text += f"; --resume {args.checkpoint} goes on"
    print(_show.printable(text), file=sys.stderr)
