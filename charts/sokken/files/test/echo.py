"""The target of `helm test`: sends back what it gets, and ends when its input does. Runs in the image of sokken."""

import socketserver
from typing import Final

ADDRESS: Final = ("", 17007)


class Echo(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Send back everything, then end: a half-close comes back as one."""
        while chunk := self.request.recv(65536):
            self.request.sendall(chunk)


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection, none of which keeps the pod from ending."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server(ADDRESS, Echo) as server:
        server.serve_forever()
