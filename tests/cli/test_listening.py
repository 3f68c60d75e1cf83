"""The socket that several processes share."""

import socket

import uvicorn

from diptych.cli.listening import listening


def test_connections_to_processes_that_share_a_socket_send_at_once() -> None:
    """Else the body of an answer waits for the acknowledgement of its head, which the other side puts off."""
    with listening(uvicorn.Config("diptych.cli.serving:served", port=0, workers=2)) as shared:
        shared.listen()
        with socket.create_connection(shared.getsockname()), shared.accept()[0] as accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
