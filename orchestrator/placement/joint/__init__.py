"""Services of equal priority planned together: one problem of all that they may do and all that they share.

`problem` gathers it, `exact` solves a small one by integer programming with every rule of the policies, `lowering`
turns a large one into arrays for `placement.search`. Both answer with outlines, which `filling` carries out under the
same caps as its own choices; what an outline gets wrong costs quality, never a rule.
"""
