"""Which replica takes a call, and the forwarding around it. Used by fronts, and by agents on a LAN."""
