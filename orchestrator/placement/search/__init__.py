"""The numeric heart of placement: a programme in arrays, and the search for a good plan of it.

`programme` says what is to be solved, `relaxation` finds prices by its linear relaxation, `kernels` holds the compiled
moves, `solve` runs them, `bounds` certifies. Nothing here knows a policy, a leg or a name.
"""
