"""What a Session and a Trace show of themselves in a notebook.

The colours are the notebook's own, light or dark: nothing is styled but spaces and lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxwalk.interpreter.analysis.profile import spelled
from onnxwalk.interpreter.ir.model import Tensor

if TYPE_CHECKING:
    from onnxwalk.interpreter.analysis.trace import Trace
    from onnxwalk.interpreter.session import Session

_MOST_NODES = 200
_MOST_OPERATORS = 12
_CELL = "text-align:left;padding:1px 12px 1px 0;border:0;border-bottom:1px solid #8884"


def of_session(session: Session) -> str:
    """A session as HTML: inputs, outputs, how large it is, what it is made of."""
    graph = session.model.graph
    tensors = [t.array for t in graph.initializers.values() if isinstance(t, Tensor)]
    count, size = sum(a.size for a in tensors), sum(a.nbytes for a in tensors)
    operators = Counter(node.op_type for node in graph.nodes).most_common()
    listed = ", ".join(f"{name} ×{n}" for name, n in operators[:_MOST_OPERATORS])
    if len(operators) > _MOST_OPERATORS:
        listed += f", … ({len(operators)} in all)"
    rows = [
        ("inputs", "\n".join(map(str, session.inputs)) or "none"),
        ("outputs", "\n".join(map(str, session.outputs))),
        ("nodes", f"{len(graph.nodes):,}"),
        ("parameters", f"{count:,} ({size / 1e6:,.1f} MB)"),
        ("operators", listed),
    ]
    return _table(f"Session: {session.model.source}", (), rows)


def of_trace(trace: Trace) -> str:
    """A trace as HTML: its nodes with their outputs and times. It runs the model to tell."""
    rows: list[Sequence[str]] = []
    for event in trace:
        if len(rows) == _MOST_NODES:
            break
        values = [(f"{event.named(n)}: {spelled(v)}", *_range(v)) for n, v in event.outputs.items()]
        columns = ["\n".join(cells) for cells in zip(*values, strict=True)] or [""] * 4
        rows.append((event.node.op_type, *columns, f"{event.seconds * 1e3:.3f} ms"))
    table = _table(
        f"Trace: {len(trace):,} nodes",
        ("operator", "outputs", "min", "mean", "max", "time"),
        rows,
    )
    left = len(trace) - len(rows)
    return table + (f"<p>… and {left:,} nodes more</p>" if left else "")


def _range(value: Any) -> Sequence[str]:
    """The least, the mean and the most of an array of real numbers."""
    if not isinstance(value, np.ndarray) or not value.size or value.dtype.kind in "OUSTc":
        return "", "", ""
    wide = value.astype(np.float64)
    with np.errstate(all="ignore"):
        return tuple(f"{v:.4g}" for v in (wide.min(), wide.mean(), wide.max()))


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        inner = "".join(
            f'<{tag} style="{_CELL}">{escape(c).replace(chr(10), "<br>")}</{tag}>' for c in cells
        )
        return f'<tr style="background:none">{inner}</tr>'

    head = f"<thead>{line('th', columns)}</thead>" if columns else ""
    body = "".join(line("td", row) for row in rows)
    return (
        f'<div><b>{escape(title)}</b><table style="border-collapse:collapse;font-size:90%">'
        f"{head}<tbody>{body}</tbody></table></div>"
    )
