"""Who a part is and how it proves it: keys, certificates, tokens, and the TLS that is made of them.

Every part has a key of its own and a certificate of one authority, which says its role and name as a SPIFFE id. Parts
know each other by role, not by address: what dials a front asks for a certificate of that role, wherever the front is.
"""
