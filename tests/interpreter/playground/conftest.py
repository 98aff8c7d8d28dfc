import shutil
import threading
from pathlib import Path

import pytest

from onnxwalk.interpreter.errors import InvalidInputError
from onnxwalk.interpreter.playground.pyodide import fetched
from onnxwalk.interpreter.playground.server import serving
from onnxwalk.interpreter.playground.site import write_site
from tests.support.browser import CHROMIUM
from tests.support.devtools import browser


@pytest.fixture(scope="session")
def distribution():
    """Pyodide and NumPy, fetched once."""
    if shutil.which("node") is None:
        pytest.skip("there is no Node.js")
    try:
        return fetched()
    except InvalidInputError as error:
        pytest.skip(f"Pyodide can't be had here: {error}")


@pytest.fixture(scope="session")
def site(distribution, tmp_path_factory):
    """The folder of a site, and what was written there."""
    folder = tmp_path_factory.mktemp("site")
    return folder, write_site(folder)


@pytest.fixture(scope="module")
def page(site, tmp_path_factory):
    """The page in a browser, ready."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with serving(site[0]) as (server, address):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with browser(Path(tmp_path_factory.mktemp("profile"))) as found:
                found.size(1280, 900)
                found.open(address)
                found.wait("document.body && document.body.dataset.ready", 100)
                found.stop_server = server.shutdown
                yield found
        finally:
            server.shutdown()
            thread.join()
