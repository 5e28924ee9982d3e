"""The second suite: whole snapshots with all that a policy can say, made from a seed. ../README.md describes it."""
