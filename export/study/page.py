"""The page around a report: its style, light and dark, and nothing from anywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from onnxwalk.export.study import svg

_STYLE = """
*{box-sizing:border-box}
html{scroll-behavior:smooth;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--ink);
 font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:70rem;margin:0 auto;padding:1rem 1.1rem 4rem}
h1{font-size:1.75rem;line-height:1.2;margin:1.4rem 0 .6rem;text-wrap:balance}
h2{font-size:1.4rem;margin:3.2rem 0 .6rem;padding-top:.9rem;border-top:2px solid var(--line)}
h3{font-size:1.12rem;margin:2.2rem 0 .4rem}
h4{font-size:1rem;margin:1.8rem 0 .3rem}
p,li{max-width:46rem}
p{margin:.5rem 0}
ul{padding-left:1.2rem;margin:.4rem 0}
a{color:var(--c0)}
code{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.9em}
nav{position:sticky;top:0;background:var(--ground);border-bottom:1px solid var(--line);z-index:1;
 padding:.5rem 1.1rem;overflow-x:auto;white-space:nowrap}
nav a{margin-right:1.1rem;text-decoration:none;font-size:.92rem}
nav a:hover{text-decoration:underline}
section{scroll-margin-top:3rem}
h2,h3{scroll-margin-top:3rem}
.lead{color:var(--muted)}
.note{border-left:4px solid var(--c1);padding:.4rem .8rem;margin:.8rem 0;background:var(--soft)}
.verdict{border-left:4px solid var(--c2);padding:.5rem .8rem;margin:1rem 0;background:var(--soft)}
.verdict.broken{border-color:var(--c1)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,20rem),1fr));
 gap:.6rem 1.4rem;align-items:start;max-width:60rem}
figure{margin:.6rem 0;max-width:31rem}
figure>svg{display:block;width:100%;height:auto}
figcaption{font-size:.85rem;color:var(--muted)}
.keys{font-size:.88rem;display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;max-width:none}
.key{white-space:nowrap;margin-right:.4rem}
.key svg{width:1.6em;height:1em;vertical-align:-.12em;margin-right:.3em}
.wide{overflow-x:auto;max-width:100%;margin:.6rem 0}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--muted);padding:.2rem 0;font-size:.85rem}
th,td{padding:.22rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:last-child.text{text-align:left}
thead th{color:var(--muted);font-weight:600;vertical-align:bottom}
tbody th{font-weight:500;position:sticky;left:0;background:var(--ground)}
.prose td:last-child,.prose th:last-child{text-align:left;white-space:normal}
.grid td{border:1px solid var(--line);padding:.15rem .4rem}
.grid .marked{outline:3px solid var(--c1);outline-offset:-2px;font-weight:700}
.pair{display:flex;flex-wrap:wrap;gap:.6rem 1.6rem;font-size:.88rem;margin:.5rem 0}
.sum{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace;
 font-size:.82rem;line-height:1.7;background:var(--soft);padding:.5rem .8rem;margin:.5rem 0;
 border-radius:4px;overflow-wrap:anywhere;max-width:60rem}
.sum div{padding-left:2em;text-indent:-2em}
.confusion td{text-align:center;min-width:2.6rem;border:1px solid var(--ground);
 background:color-mix(in srgb,var(--fill) calc(var(--p)*100%),var(--soft))}
.confusion td.right{outline:2px solid var(--ink);outline-offset:-2px}
.confusion thead th{text-align:center}
details{margin:.5rem 0}
summary{cursor:pointer;color:var(--c0)}
.folded{display:flex;flex-wrap:wrap;gap:.4rem 2rem}
.chips{line-height:2.6;max-width:60rem}
.chip{display:inline-block;line-height:1.25;border:1px solid var(--c0);border-radius:4px;
 padding:.1rem .45rem;margin-right:.3rem;text-align:center}
.chip small{display:block;color:var(--muted);font-size:.7rem}
.chip.pad{border-color:var(--line)}
.chip.off{border-color:var(--line);color:var(--muted);
 background:repeating-linear-gradient(45deg,transparent 0 4px,var(--line) 4px 6px)}
.more,.offtext{color:var(--muted)}
.yes{color:var(--c2);font-weight:600}.no{color:var(--c1);font-weight:700}
"""


def page(title: str, links: Sequence[tuple[str, str]], body: str) -> str:
    """A whole HTML document. ``links``: (id of a heading, what to call it)."""
    jumps = "".join(f'<a href="#{name}">{escape(text)}</a>' for name, text in links)
    light = f"{svg.variables(0)}--soft:#f3f5f8;--fill:#6db3e0;"
    dark = f"{svg.variables(1)}--soft:#1f252d;--fill:#1f6fa8;"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title>"
        f"<style>:root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}"
        f"{svg.STYLE}{_STYLE}</style></head>"
        f"<body><nav>{jumps}</nav><main><h1>{escape(title)}</h1>{body}</main></body></html>\n"
    )
