"""One region's Ray: Serve keeps cloud replicas at the planner's numbers, and training jobs run beside them.

Ray and Serve hold nothing that the store could not give back.
"""
