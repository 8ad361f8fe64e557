"""`python -m gitvs` does what `gitvs` does."""

from __future__ import annotations

from gitvs.cli import main

if __name__ == "__main__":
    main()
