"""Tells the story on a kernel with IPVS: the one under us if it can, or else User-Mode Linux."""

from __future__ import annotations

import os
import sys

from tests.demo import story
from tests.harness import guest, namespace


def main() -> int:
    is_coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    arguments = ["--colour"] if is_coloured else []
    if namespace.obstacle() is None:
        return story.main(arguments)
    if problem := guest.obstacle():
        print(f"no kernel with IPVS to show this on: {problem}; {guest.INSTALL}", file=sys.stderr)
        return 1
    print("No IPVS for us in the kernel here: booting one of our own, User-Mode Linux.", flush=True)
    return guest.run_command(
        [sys.executable, "-m", "tests.demo.story", *arguments], {"PYTHONUTF8": "1"}
    )


if __name__ == "__main__":
    sys.exit(main())
