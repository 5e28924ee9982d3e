"""Who signs certificates: an authority kept in files, or a command that speaks to another one.

Only the control plane and `skerry up` hold it. Nodes reach it through a front and the control plane.
"""
