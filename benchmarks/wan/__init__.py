"""What an edge site gets over a bad link: how soon a machine that joins answers, and what a cut costs its callers."""
