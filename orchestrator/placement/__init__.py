"""Where replicas go, and why not elsewhere: a pure function of a snapshot."""

from orchestrator.placement.placing import place

__all__ = ["place"]
