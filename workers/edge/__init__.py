"""The agent on an edge node: dials a front, holds what it is assigned, serves its LAN, WAN or no WAN."""
