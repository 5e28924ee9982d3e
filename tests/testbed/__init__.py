"""Networks of real namespaces for tests: a cloud, sites behind NAT on limited links that can be cut, real processes.

A site's way to the cloud:

    node ── LAN ── router ── the WAN link ── provider ── cloud
                  NAT, cuts   rate limits    Toxiproxy   203.0.113.1

The router masquerades and forgets idle flows, as home and plant routers do. Cuts are made there, below TCP: packets are
dropped, or answered by resets. Rates are limited by `tc tbf` at both ends of the WAN link. Delay, jitter and resets of
live connections are Toxiproxy's, in the provider's namespace, where connections to the cloud pass through it unasked:
nodes dial the cloud's address. Since it ends TCP itself, the handshake of TCP has no delay, all that follows it has.

Every namespace is named for the process that owns it; those of a process that was killed go with the next run.
Needs root, iproute2, nftables and Toxiproxy (`make tools`).
"""
