"""Measures one leg, from its far end: round trip, and throughput each way. Placement is decided by what this room says.

`legs` is pure (samples in, estimate out), `echo` takes the samples over a link's Probe service.
"""
