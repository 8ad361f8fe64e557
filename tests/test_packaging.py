"""What `pip install .` gives: the wheel holds the schemas, and works on its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]

RUN = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import gitvs.cli
assert gitvs.__file__.startswith(sys.path[0]), gitvs.__file__
sys.exit(gitvs.cli.run(sys.argv[1:]))
"""


def test_the_wheel_holds_the_schemas_and_runs(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True)
    [wheel] = tmp_path.glob("gitvs-*.whl")
    packed = {Path(n).name for n in ZipFile(wheel).namelist() if n.startswith("gitvs/schemas/")}
    assert packed == {path.name for path in (ROOT / "schemas").iterdir()}
    command = [sys.executable, "-c", RUN, str(wheel), "validate", str(ROOT / "examples/quickstart")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no problems" in done.stdout


def test_the_source_root_is_no_package() -> None:
    assert not (ROOT / "operator/__init__.py").exists()
