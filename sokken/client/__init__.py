"""`sokken client`: listens locally and tunnels each connection to a server."""
