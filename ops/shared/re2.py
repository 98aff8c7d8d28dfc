"""Translates RE2's regular expressions to Python's ``re``, for full matches.

Whether a text matches in full depends neither on greediness nor on groups, so the two agree once
the syntax is translated. Syntax that RE2 or ``re`` doesn't have is refused.
"""

from __future__ import annotations

import functools
import re

_SPACE = r"\t\n\f\r "  # Python's \s has \v as well
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_REPEAT = re.compile(r"[*+?]|\{(\d+)(,(\d*))?\}")
_GROUP = re.compile(r"\(\?(?:P?<(?P<name>\w+)>|(?P<flags>[imsU]*(?:-[imsU]+)?)(?P<end>[:)]))")
_HEX = re.compile(r"\\x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]+)\})")
_OCTAL = re.compile(r"\\(0[0-7]{0,2}|[1-7][0-7]{1,2})")


@functools.lru_cache(maxsize=256)
def compile_re2(pattern: str) -> re.Pattern[str]:
    """Compile an RE2 pattern, to be used with ``fullmatch``.

    Raises ValueError for an invalid pattern, NotImplementedError for one that ``re`` can't express.
    """
    flags, start = re.ASCII, 0
    leading = _GROUP.match(pattern)
    if leading and leading["end"] == ")":
        on, _, off = leading["flags"].partition("-")
        for letter in set(on) - set(off):
            flags |= {"i": re.I, "m": re.M, "s": re.S, "U": re.ASCII}[letter]
        start = leading.end()
    translated = _translate(pattern, start, bool(flags & re.M))
    try:
        return re.compile(translated, flags)
    except (re.error, OverflowError) as error:
        raise ValueError(f"pattern {pattern!r}: {error}") from None


def ignores_case(pattern: str) -> bool:
    """Whether any part of the pattern ignores case (an escaped "(?i" counts, to be safe)."""
    return any(
        "i" in found["flags"].partition("-")[0]
        for found in _GROUP.finditer(pattern)
        if found["flags"]
    )


def _translate(pattern: str, at: int, multiline: bool) -> str:
    parts: list[str] = []
    repeated = True  # whether no repetition may follow: at the start, or after another one
    while at < len(pattern):
        sign = pattern[at]
        if pattern.startswith(r"\Q", at):
            end = pattern.find(r"\E", at)
            end = len(pattern) if end < 0 else end
            parts.extend(re.escape(letter) for letter in pattern[at + 2 : end])
            at, repeated = min(end + 2, len(pattern)), False
        elif sign in "\\[(":
            translate = {"\\": _escape, "[": _class, "(": _group}[sign]
            part, at = translate(pattern, at)
            parts.append(part)
            repeated = sign == "("
        elif repeat := _REPEAT.match(pattern, at):
            if repeated:
                raise ValueError(f"pattern {pattern!r}: nothing to repeat at {at}")
            if max((int(n) for n in (repeat[1], repeat[3]) if n), default=0) > 1000:
                raise ValueError(f"pattern {pattern!r}: RE2 repeats 1000 times at most")
            at = repeat.end()
            if pattern.startswith("?", at):  # lazy: the same for a full match
                at += 1
            parts.append(repeat[0])
            repeated = True
        else:
            at += 1
            if sign == "$" and not multiline:
                sign = r"\Z"  # Python's $ is also before a last line feed
            parts.append("\\" + sign if sign in "{}]" else sign)
            repeated = sign in "|^"
    return "".join(parts)


def _group(pattern: str, at: int) -> tuple[str, int]:
    if not pattern.startswith("(?", at):
        return "(", at + 1
    found = _GROUP.match(pattern, at)
    if found is None:
        # (?= (?! (?<= (?<! (?> (?( (?# : Python's alone
        raise ValueError(
            f"pattern {pattern!r}: RE2 has no group that starts {pattern[at : at + 4]!r}"
        )
    if found["name"]:
        return f"(?P<{found['name']}>", found.end()
    on, _, off = found["flags"].partition("-")
    if found["end"] == ")":
        raise NotImplementedError(f"pattern {pattern!r}: flags in the middle are not supported")
    if "m" in on + off:
        raise NotImplementedError(f"pattern {pattern!r}: (?m:…) is not supported")
    on, off = on.replace("U", ""), off.replace("U", "")
    return f"(?{on}{'-' + off if off else ''}:", found.end()


def _escape(pattern: str, at: int, in_class: bool = False) -> tuple[str, int]:
    """A backslash and what follows."""
    letter = pattern[at + 1 : at + 2]
    if found := _HEX.match(pattern, at):
        code = int(found[1] or found[2], 16)
        if code > 0x10FFFF:
            raise ValueError(f"pattern {pattern!r}: {found[0]} is not a Unicode character")
        return re.escape(chr(code)), found.end()
    if found := _OCTAL.match(pattern, at):
        return re.escape(chr(int(found[1], 8))), found.end()
    if letter in tuple("dDwWafnrtv"):
        return "\\" + letter, at + 2
    if letter == "s":
        return (_SPACE if in_class else f"[{_SPACE}]"), at + 2
    if letter == "S" and not in_class:
        return f"[^{_SPACE}]", at + 2
    if letter in tuple("AbB") and not in_class:
        return "\\" + letter, at + 2
    if letter == "z" and not in_class:
        return r"\Z", at + 2
    if letter in tuple("pPCS"):
        raise NotImplementedError(f"pattern {pattern!r}: \\{letter} is not supported")
    if not letter or letter.isalnum() or ord(letter) > 127:
        raise ValueError(f"pattern {pattern!r}: RE2 has no escape \\{letter}")
    return "\\" + letter, at + 2


def _class(pattern: str, at: int) -> tuple[str, int]:
    """A bracket expression, from its [ to its ]."""
    start, parts = at, ["["]
    at += 1
    if pattern.startswith("^", at):
        parts.append("^")
        at += 1
    first = True
    while first or not pattern.startswith("]", at):
        first = False
        if at >= len(pattern):
            raise ValueError(f"pattern {pattern!r}: missing ] for the [ at {start}")
        if pattern.startswith("[:", at) and (end := pattern.find(":]", at)) > 0:
            name = pattern[at + 2 : end]
            if name.startswith("^"):
                raise NotImplementedError(f"pattern {pattern!r}: [:{name}:] is not supported")
            if name not in _POSIX:
                raise ValueError(f"pattern {pattern!r}: no character class [:{name}:]")
            parts.append(_POSIX[name])
            at = end + 2
        elif pattern[at] == "\\":
            part, at = _escape(pattern, at, in_class=True)
            parts.append(part)
        else:
            letter = pattern[at]
            parts.append("\\" + letter if letter in "[]&|~^" else letter)
            at += 1
    return "".join(parts) + "]", at + 1


#: tokens for ``max_steps``; escapes, flags and classes are one token each
_STRUCTURE = re.compile(
    r"\\.|\(\?[a-zA-Z-]+\)|\[(?:\\.|[^\]\\])*\]|(?P<open>\((?:\?[^:)>]*[:>])?)|(?P<close>\))"
    r"|(?P<choice>\|)|(?P<repeat>(?:[*+?]|\{\d+(?:,\d*)?\})\??)",
    re.S,
)


def max_steps(pattern: str, length: int) -> int:
    """An upper limit for the steps of Python's ``re`` in a full match of a text of this length.

    It backtracks to each choice and tries the next: the length to the power of the number of
    repetitions, times the alternatives of all groups; exponential if repetitions are nested, or
    repeat alternatives.
    """
    repeats, alternatives, nested = 0, 1, False
    choices, varied = [0], [False]  # of each open group
    for token in _STRUCTURE.finditer(pattern):
        if token["open"]:
            choices.append(0)
            varied.append(False)
        elif token["close"] and len(choices) > 1:
            alternatives *= 1 + choices.pop()
            inner = varied.pop()
            varied[-1] |= inner
            after = _STRUCTURE.match(pattern, token.end())
            nested |= inner and after is not None and after["repeat"] not in (None, "?", "??")
        elif token["choice"]:
            choices[-1] += 1
            varied[-1] = True
        elif token["repeat"]:
            repeats += 1
            varied[-1] = True
    steps = alternatives * (1 + choices[0]) * (length + len(pattern) + 1) ** min(repeats, 40)
    return min(steps << (min(length, 200) if nested else 0), 1 << 240) + length + len(pattern)
