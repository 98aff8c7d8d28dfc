"""The options that say how pictures become numbers."""

from __future__ import annotations

import argparse

import numpy as np

from onnxwalk.interpreter.cli._arguments import add_integer, positive_number
from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.rows.pixels import Pixels


def add_pixels(parser: argparse.ArgumentParser) -> None:
    """Add the options of pictures."""
    group = parser.add_argument_group(
        "pictures",
        "how pixels become numbers: by default as the model's metadata or its first nodes say, "
        "else from 0 to 1 for inputs of floats, 0 to 255 for integers",
    )
    text = "pixels from 0 to S"
    group.add_argument("--scale", type=positive_number, metavar="S", help=text)
    text = "then subtract these, a number or one for each channel"
    group.add_argument("--mean", type=_parse_numbers, metavar="M,…", default=(), help=text)
    text = "then divide by these"
    group.add_argument("--std", type=_parse_numbers, metavar="D,…", default=(), help=text)
    text = "order of the channels (default: rgb)"
    group.add_argument("--colours", choices=("rgb", "bgr"), help=text)
    text = "axes of the input (default: as its shape looks)"
    group.add_argument("--layout", choices=("NHWC", "NCHW"), help=text)
    add_integer(group, "--resize", "first make the shorter side N pixels long")
    text = "cut out the middle in the input's size (default: stretch the picture to it)"
    group.add_argument("--crop", action="store_true", help=text)


def get_pixels(args: argparse.Namespace) -> Pixels:
    """What the options of ``add_pixels`` say. Raises InvalidInputError."""
    if any(not x for x in args.std):
        raise InvalidInputError("--std: a standard deviation of 0 can't be divided by")
    return Pixels(
        None if args.scale is None else 0.0,
        args.scale,
        args.mean,
        args.std,
        None if args.colours is None else args.colours == "bgr",
        args.layout,
        args.resize,
        args.crop,
    )


def _parse_numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not np.isfinite(numbers).all():
        raise argparse.ArgumentTypeError(
            f"expected numbers such as 0.485,0.456,0.406, got {text!r}"
        )
    return numbers
