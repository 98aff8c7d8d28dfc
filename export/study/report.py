"""``report.html``: one page that says what was trained, what came of it, and how it works."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from onnxwalk.export.study import by_hand_pictures, by_hand_texts, findings, svg
from onnxwalk.export.study.by_hand import figure, paragraph, table
from onnxwalk.export.study.evaluate import ALLOWED, ENGINES
from onnxwalk.export.study.findings import RULES, Result
from onnxwalk.export.study.page import page
from onnxwalk.export.study.progress import Progress
from onnxwalk.export.study.store import whole
from onnxwalk.export.study.variants import GROUPS, Group

#: of ``ENGINES``, for people
NAMES = ("Keras", "onnxwalk", "ONNX Runtime")

#: what the original notebook reached with the final model, on its own run
ORIGINAL = {"CNN": 0.6995, "SimpleRNN": 0.3847, "LSTM": 0.7585}


def write_report(found: Sequence[Result], output: Path, progress: Progress) -> Path:
    """Write the page into the output folder. Raises ExportError if that can't be done."""
    file = output / "report.html"
    parts = [_about(found), _claims(found), _findings(found)]
    links = [("equal", "Is it equal?"), ("findings", "Findings")]
    chapters = [f for f in findings.families(found) if f in ("CNN", "SimpleRNN", "LSTM")]
    for family in findings.families(found):
        parts.append(_family(family, found))
        links.append((family.lower(), family))
    parts.append(_times(found))
    links.append(("time", "Time"))
    with progress.step("following samples by hand", len(chapters)) as done:
        for number, family in enumerate(chapters):
            parts.append(_by_hand(family, found))
            links.append((f"hand-{family.lower()}", f"By hand: {family}"))
            done(number + 1)
    parts.append(_again(found))
    links.append(("again", "Once more"))
    with whole(file) as part:
        part.write_text(page(title(found), links, "".join(parts)), "utf-8")
    return file


def title(found: Sequence[Result]) -> str:
    """Names the data where it isn't the assignment's own."""
    count = f"{len(found)} network{'s' if len(found) > 1 else ''}"
    text = f"{count}, in Keras and in plain NumPy"
    stand_ins = _unique([r.record["source"] for r in found if r.record["stands_in"]])
    return f"{text}: on {' and '.join(stand_ins)}" if stand_ins else text


def _sentence(text: str) -> str:
    return escape(text[:1].upper() + text[1:])


def _unique(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _about(found: Sequence[Result]) -> str:
    lines = []
    for family in findings.families(found):
        those = [r for r in found if r.variant.family == family]
        plan, record = those[0].training["plan"], those[0].record
        epochs = _unique([str(len(r.history["loss"])) for r in those])
        presets = _unique([r.training["plan"]["preset"] for r in those])
        data = plan["data"]
        lines.append(
            f"<li><b>{family}</b>: {len(those)} variants on {escape(record['source'])}, "
            f"{data['train']:,} samples for training, {data['valid']:,} for validation, "
            f"{record['count']:,} for the test; {' or '.join(epochs)} epochs in batches of "
            f"{plan['batch']}, Adam, sparse categorical cross-entropy; seed {plan['seed']}, "
            f"preset {' and '.join(presets)}.</li>"
        )
    stand_ins = _unique([r.record["source"] for r in found if r.record["stands_in"]])
    note = ""
    if stand_ins:
        note = (
            f'<p class="note">{escape(" and ".join(stand_ins))} stand in for the data of the '
            "assignment, CIFAR-10 and NusaX: what is said about variants holds for these only.</p>"
        )
    lead = (
        '<p class="lead">Each network was trained in Keras, exported to ONNX, and run on the same '
        "test set by Keras, by onnxwalk, which needs nothing but NumPy, and by ONNX Runtime.</p>"
    )
    return f"{lead}{note}<ul>{''.join(lines)}</ul>"


def _claims(found: Sequence[Result]) -> str:
    broken = findings.claims(found)
    largest = max(r.record["max_abs_diff"]["onnxwalk"] for r in found)
    samples = sum(r.record["count"] for r in found)
    if broken:
        lines = "".join(
            f"<li><b>{escape(path)}</b>: {escape('; '.join(said))}</li>"
            for path, said in broken.items()
        )
        verdict = (
            f'<div class="verdict broken"><b>No:</b> of {len(broken)} of {len(found)} variants '
            f"something that must hold doesn't.<ul>{lines}</ul></div>"
        )
    else:
        verdict = (
            f'<div class="verdict"><b>Yes.</b> In all {len(found)} variants Keras and the '
            f"interpreter have the same F1 to four digits and give all {samples:,} test samples "
            f"the same label; no probability differs by more than {largest:.1e}.</div>"
        )
    rows = []
    for r in found:
        record = r.record
        equal = record["count"] - record["labels_differ"]["onnxwalk"]
        good = r.variant.path not in broken
        rows.append(
            [
                escape(r.variant.path),
                f"{r.training['parameters']:,}",
                f"{record['f1']['keras']:.4f}",
                f"{record['f1']['onnxwalk']:.4f}",
                f"{equal:,} of {record['count']:,}",
                f"{record['max_abs_diff']['onnxwalk']:.1e}",
                f"{record['max_abs_diff']['onnxruntime']:.1e}",
                '<span class="yes">✓ equal</span>' if good else '<span class="no">✗ not</span>',
            ]
        )
    head = ["variant", "parameters", "F1 in Keras", "F1 in onnxwalk", "labels equal"]
    head += ["largest difference", "ONNX Runtime's", ""]
    differences = {
        family: [
            (r.variant.name, [r.record["max_abs_diff"][e] for e in ENGINES[1:]])
            for r in found
            if r.variant.family == family
        ]
        for family in findings.families(found)
    }
    charts = "".join(
        figure(
            svg.dots(
                f"{family}: largest difference from Keras",
                part,
                NAMES[1:],
                unit="of a probability",
                limit=ALLOWED,
                show="{:.1e}".format,
            )
        )
        for family, part in differences.items()
    )
    return (
        '<section id="equal"><h2>Is it equal?</h2>'
        + verdict
        + paragraph(RULES["claims"])
        + table(head, rows)
        + _keys(NAMES[1:])
        + f'<div class="charts">{charts}</div>'
        + '<p class="lead">The dotted line is what is allowed.</p></section>'
    )


def _findings(found: Sequence[Result]) -> str:
    parts = []
    groups = findings.group_findings(found)
    for family in findings.families(found):
        said = [f"<li>{escape(text)}</li>" for text in findings.family_findings(family, found)]
        said += [
            f"<li><b>{escape(group.title)}:</b> {escape(text)}</li>"
            for group, text in groups
            if group.family == family
        ]
        parts.append(f"<h3>{family}</h3><ul>{''.join(said)}</ul>")
    rules = [RULES[name] for name in ("wins", "overfits", "unfinished", "guesses", "small")]
    stated = "".join(f"<li>{escape(rule)}</li>" for rule in rules)
    return (
        '<section id="findings"><h2>Findings</h2>'
        + paragraph(
            "Computed from the numbers, by the rules below. Every model was trained once, from one",
            "seed: the rules tell what other test samples would change, not what another seed",
            "would.",
        )
        + "".join(parts)
        + f"<h3>The rules</h3><ul>{stated}</ul></section>"
    )


def _family(family: str, found: Sequence[Result]) -> str:
    those = [r for r in found if r.variant.family == family]
    rows = [(r.variant.name, [r.record["f1"][e] for e in ENGINES[:2]]) for r in those]
    original = ""
    if family in ORIGINAL and not those[0].record["stands_in"]:
        final = findings.final(family, found)
        original = paragraph(
            f"The original notebook's final model reached {ORIGINAL[family]:.4f} on "
            f"its own run; {escape(final.variant.name)} here has {final.f1:.4f}."
        )
    parts = [
        f'<section id="{family.lower()}"><h2>{family}</h2>',
        original,
        "<h3>Macro F1 on the test set</h3>",
        _keys(NAMES[:2], square=True),
        figure(svg.bars("macro F1", rows, NAMES[:2], most=1.0)),
    ]
    parts += [_group(group, found) for group in GROUPS if group.family == family]
    parts += [_training(those), _confusions(family, found), "</section>"]
    return "".join(parts)


def _group(group: Group, found: Sequence[Result]) -> str:
    """Loss and accuracy of a group's variants, if there are two or more."""
    pairs = findings.members(group, found)
    if len(pairs) < 2:
        return ""
    return (
        f"<h3>{escape(group.title)}</h3>"
        + paragraph(_sentence(findings.winner(pairs)))
        + curves_keys([label for label, _ in pairs])
        + f'<div class="charts">{"".join(map(figure, curves(pairs)))}</div>'
    )


def curves(pairs: Sequence[tuple[str, Result]]) -> list[str]:
    """Two charts of (label, result): loss, and accuracy; validation is dashed."""
    epochs = max(len(result.history["loss"]) for _, result in pairs)
    charts = []
    for metric in ("loss", "accuracy"):
        series = []
        for colour, (label, result) in enumerate(pairs):
            for prefix, kind in (("", "training"), ("val_", "validation")):
                ys = result.history[prefix + metric]
                padded = [*ys, *[None] * (epochs - len(ys))]
                series.append(svg.Line(f"{label}, {kind}", padded, colour, bool(prefix)))
        charts.append(svg.lines(metric, series, xs=[str(e + 1) for e in range(epochs)]))
    return charts


def curves_keys(labels: Sequence[str]) -> str:
    dash = (
        '<span class="key"><svg viewBox="0 0 22 12" aria-hidden="true"><path class="axis" '
        'd="M0 6h22"{}/></svg>{}</span>'
    )
    kinds = dash.format("", "training") + dash.format(' stroke-dasharray="5 4"', "validation")
    return _keys(labels)[: -len("</p>")] + kinds + "</p>"


def _keys(labels: Sequence[str], *, square: bool = False) -> str:
    """What the colours and shapes of a chart mean."""
    keys = "".join(
        f'<span class="key"><svg viewBox="0 0 14 12" aria-hidden="true">'
        f"{svg.shape(7, 6, i, 1 if square else i)}</svg>{escape(label)}</span>"
        for i, label in enumerate(labels)
    )
    return f'<p class="keys">{keys}</p>'


def _training(those: Sequence[Result]) -> str:
    rows = []
    for r in those:
        h = r.history
        marks = [
            text
            for text, holds in (
                ("overfits", r.overfits),
                ("could go on", r.unfinished),
                ("guesses", r.guesses),
            )
            if holds
        ]
        rows.append(
            [
                escape(r.variant.name),
                f"{h['loss'][-1]:.4f}",
                f"{h['val_loss'][-1]:.4f}",
                f"{min(h['val_loss']):.4f}",
                str(r.best_epoch),
                f"{h['accuracy'][-1]:.3f}",
                f"{h['val_accuracy'][-1]:.3f}",
                f"{sum(h['seconds']):,.0f} s",
                ", ".join(marks) or "–",
            ]
        )
    head = ["variant", "loss", "validation", "its least", "in epoch", "accuracy", "validation"]
    head += ["training took", "by the rules"]
    return f"<h3>How training ended</h3>{table(head, rows)}"


def _confusions(family: str, found: Sequence[Result]) -> str:
    chosen = findings.final(family, found)
    others = [r for r in found if r.variant.family == family and r is not chosen]
    folded = "".join(confusion(r) for r in others)
    more = (
        f"<details><summary>Confusion matrices of the other {len(others)}</summary>"
        f'<div class="folded">{folded}</div></details>'
        if others
        else ""
    )
    return (
        "<h3>What is taken for what</h3>"
        + paragraph(
            "Rows are what the samples are, columns what the interpreter says; right answers are "
            "framed. Colour is the share of the row."
        )
        + confusion(chosen)
        + more
    )


def confusion(result: Result) -> str:
    """A table of counts, (truth, said)."""
    classes = result.record["classes"]
    size = len(classes)
    counts = np.zeros((size, size), int)
    np.add.at(counts, (result.truth, result.labels), 1)
    rows = []
    for i, row in enumerate(counts):
        share = row / max(1, row.sum())
        cells = "".join(
            f'<td style="--p:{share[j]:.3f}"{" class=right" if i == j else ""}>{count}</td>'
            for j, count in enumerate(row)
        )
        rows.append(f'<tr><th scope="row">{escape(classes[i])}</th>{cells}</tr>')
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in classes)
    return (
        f'<div class="wide"><table class="confusion"><caption>{escape(result.variant.path)}: '
        f"accuracy {result.right.mean():.4f}, macro F1 {result.f1:.4f}</caption>"
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _times(found: Sequence[Result]) -> str:
    parts = []
    for family in findings.families(found):
        those = [r for r in found if r.variant.family == family]
        ratios = findings.speed(family, found)
        unit = "image" if family == "CNN" else "sentence"
        record = those[0].record
        rows = [
            (
                r.variant.name,
                [1e3 * r.record["seconds"][e] / r.record["count"] for e in ENGINES],
            )
            for r in those
        ]
        threads = "1 thread" if record["threads"] == 1 else f"{record['threads']} threads"
        cells = [[escape(name), *(f"{value:.3f}" for value in values)] for name, values in rows]
        parts.append(
            f"<h3>{family}</h3>"
            + paragraph(
                f"Batches of {record['batch']}, {threads} each. onnxwalk takes "
                f"{ratios['keras']:.2f} times as long as Keras and {ratios['onnxruntime']:.2f} "
                "times as long as ONNX Runtime."
            )
            + '<div class="charts">'
            + figure(svg.dots(f"milliseconds per {unit}", rows, NAMES, unit="ms"))
            + table([f"ms per {unit}", *NAMES], cells)
            + "</div>"
        )
    return (
        '<section id="time"><h2>Time</h2>'
        + paragraph("What a test sample takes, loading and the first batch aside.", RULES["time"])
        + _keys(NAMES)
        + "".join(parts)
        + "</section>"
    )


def _by_hand(family: str, found: Sequence[Result]) -> str:
    chosen = findings.final(family, found)
    chapter = by_hand_pictures.chapter if family == "CNN" else by_hand_texts.chapter
    return (
        f'<section id="hand-{family.lower()}"><h2>By hand: {family}</h2>'
        + paragraph(
            f"One sample through <code>{escape(chosen.variant.path)}</code>. The numbers are the",
            "interpreter's own, asked for by the names of the values inside the graph; where",
            "something is worked out from them, the difference from the interpreter is said.",
        )
        + chapter(chosen)
        + "</section>"
    )


def _again(found: Sequence[Result]) -> str:
    versions = "; ".join(
        _unique(
            [
                ", ".join(f"{name} {number}" for name, number in r.training["versions"].items())
                for r in found
            ]
        )
    )
    plan = found[0].training["plan"]
    return (
        '<section id="again"><h2>Once more</h2>'
        + paragraph(
            f"<code>python -m export study --preset {escape(plan['preset'])} "
            f"--seed {plan['seed']}</code> with the same data trains and compares all of this",
            "again. The same seed gives the same models on the same machine and versions; another",
            "processor or number of threads adds up in another order.",
        )
        + paragraph(f"Trained with: {escape(versions)}.")
        + "</section>"
    )
