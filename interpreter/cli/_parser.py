"""The parser of all command lines."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import Any, NoReturn

_CHOICE = re.compile(r"(?P<start>.*invalid choice: '(?P<word>.*)') \(choose from (?P<known>.*)\)")


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that asks whether another command or option was meant."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As ArgumentParser's. An error is that of the command, if one was given."""
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            parser: Parser = getattr(found, "parser", self)
            unknown = next((word for word in rest if word.startswith("-")), rest[0])
            hint = did_you_mean(unknown.partition("=")[0], parser._option_string_actions)
            parser.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
        return found

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, and exit with status 2."""
        if match := _CHOICE.fullmatch(message):
            known = re.findall(r"[^\s',]+", match["known"])
            if hint := did_you_mean(match["word"], known):
                message = match["start"] + hint
        super().error(message)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: what is written almost so, or nothing."""
    import difflib  # for messages only

    bare = {name.lstrip("-"): name for name in known}
    close = difflib.get_close_matches(word.lstrip("-"), list(bare), 1)
    return f"; did you mean {bare[close[0]]!r}?" if close else ""
