"""The page that runs any model in the browser: ``onnxwalk playground``.

``site`` writes the page, ``pyodide`` gets what it runs on, and ``engine`` is what its worker calls
there. ``_site`` is the page itself, without the explorer, which is that of ``explore``.
"""
