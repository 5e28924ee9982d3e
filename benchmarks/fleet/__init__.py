"""One front under a whole fleet: CPU, memory per node, bytes on the wire, and how long until all are back."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # before anybody imports grpc: it tells of each connection that ends
