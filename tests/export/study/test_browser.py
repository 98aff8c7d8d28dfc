"""The report in a real browser: nothing in the console, every picture drawn, no room wasted."""

import pytest

from tests.export.study.conftest import study
from tests.support.browser import needs_chromium, opened

pytest.importorskip("tensorflow", reason="the study needs TensorFlow")
pytest.importorskip("sklearn", reason="the study needs scikit-learn")

pytestmark = needs_chromium

#: what a page finds out about itself, once everything is there
SCRIPT = """
  document.querySelectorAll('details').forEach(d => d.open = true);
  const drawn = svg => {
    const box = svg.getBBox(), place = svg.getBoundingClientRect();
    return box.width > 0 && box.height > 0 && place.width > 0 && place.height > 0;
  };
  const loaded = image => new Promise(done => {
    const probe = new Image();
    probe.onload = () => done(probe.naturalWidth > 0);
    probe.onerror = () => done(false);
    probe.src = image.getAttribute('href');
  });
  const clipped = svg => [...svg.querySelectorAll('text')].filter(t => {
    const a = t.getBoundingClientRect(), b = svg.getBoundingClientRect();
    return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 ||
      a.bottom > b.bottom + 1;
  }).map(t => t.textContent);
  const pictures = [...document.querySelectorAll('svg')];
  const images = [...document.querySelectorAll('image')];
  return {
    pictures: pictures.length,
    images: images.length,
    empty: pictures.filter(p => !drawn(p)).length,
    broken: (await Promise.all(images.map(loaded))).filter(ok => !ok).length,
    clipped: pictures.flatMap(clipped),
    wide: document.documentElement.scrollWidth - innerWidth,
    ground: getComputedStyle(document.body).backgroundColor,
    dead: [...document.querySelectorAll('nav a')].filter(
      a => !document.getElementById(a.hash.slice(1))).length,
  };
"""


def opened_report(page, folder, **settings):
    return opened(page, folder, SCRIPT, **settings)


@pytest.mark.parametrize(
    ("language", "width", "dark"), [("en", 1100, False), ("en", 390, True), ("id", 1100, False)]
)
def test_the_report(copy, tmp_path, language, width, dark):
    if language != "en":
        pytest.importorskip("babel", reason="catalogues are read by Babel")
        assert study(copy, "--report", "--language", language) == 0
    page = (copy / "report.html").read_text("utf-8")
    found, console = opened_report(page, tmp_path, width=width, dark=dark)
    assert console == []
    # 3 of each family's results; by hand 3 of a CNN, 4 of a SimpleRNN, 5 of an LSTM
    assert found["pictures"] == page.count("<svg") == 3 * 3 + 3 + 4 + 5
    assert found["images"] == 2 + 2 + 32 + 2 + 2 and page.count("<title>") > 150
    assert found["empty"] == found["broken"] == found["dead"] == 0
    assert found["clipped"] == []
    assert found["wide"] <= 0, "the page scrolls sideways"
    assert found["ground"] == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")


def test_that_mistakes_are_found(tmp_path):
    page = (
        '<body><a></a><svg></svg><svg viewBox="0 0 9 9" width="90"><text x="5" y="5">abc</text>'
        '<image href="data:image/png;base64,AAAA" width="5" height="5"/></svg>'
        "<script>nothing()</script></body>"
    )
    found, console = opened_report(page, tmp_path)
    assert found["empty"] == 1 and found["broken"] == 1 and found["clipped"] == ["abc"]
    assert any("nothing is not defined" in line for line in console)
