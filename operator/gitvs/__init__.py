"""gitvs: Git as the control plane of Linux load balancing (IPVS).

The rooms, from the outside in: `cli` (commands), `agent` (the daemon), `preview` (commit
against commit), `reconcile` (one pass on one kernel), `health` (the process that checks real
servers), `ports` (what these need from outside, as Protocols), `core` (pure: what a director
should have, and the way there), `report` (pure: values as text), `adapters` (one outside system a
folder). `__main__` is for `python -m gitvs`.
"""

__version__ = "0.1.0"
