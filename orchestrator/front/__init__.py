"""The cloud end of node links, relay, and the gateway, as one stateless process that outlives the control plane."""
