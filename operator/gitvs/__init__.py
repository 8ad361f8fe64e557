"""gitvs: Git as the control plane of Linux load balancing (IPVS)."""

__version__ = "0.1.0"
