"""What `pip install .` gives: the wheel holds all that is shipped, and works on its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

from tests.support.paths import ROOT

RUN = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import gitvs.cli
assert gitvs.__file__.startswith(sys.path[0]), gitvs.__file__
sys.exit(gitvs.cli.run(sys.argv[1:]))
"""


def test_the_wheel_holds_what_is_shipped_and_runs(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True)
    [wheel] = tmp_path.glob("gitvs-*.whl")
    packed = {name for name in ZipFile(wheel).namelist() if not name.endswith("/")}
    assert {"gitvs/report/html/page.css", "gitvs/report/html/page.js"} <= packed
    for folder in ("schemas", "systemd"):
        files = (path for path in (ROOT / folder).rglob("*") if path.is_file())
        assert {f"gitvs/{path.relative_to(ROOT)}" for path in files} <= packed
    command = [sys.executable, "-c", RUN, str(wheel), "validate", str(ROOT / "examples/quickstart")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no problems" in done.stdout


def test_the_source_root_is_no_package() -> None:
    assert not (ROOT / "operator/__init__.py").exists()
