"""Model bytes by their digest: what the cloud keeps, what a node fetches, and the proof that both hold the same."""
