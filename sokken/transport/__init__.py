"""Sockets: everything that moves bytes. Foreign exceptions are translated here, at the edge that meets them."""
