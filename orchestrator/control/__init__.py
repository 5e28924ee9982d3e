"""The control plane: loops that snapshot, decide, commit and act under a fenced leader epoch.

It knows all other rooms, and holds nothing that the store and the links could not give back after a restart.
"""
