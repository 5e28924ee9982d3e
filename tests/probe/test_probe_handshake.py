import socket

import pytest

from workers.probe.handshake import handshake_s


@pytest.mark.real
async def test_a_process_that_never_wakes_up_does_not_lengthen_the_handshake() -> None:
    """Nobody accepts here: the kernel alone answers, and times it."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listening:
        taken_s = [await handshake_s("127.0.0.1", listening.getsockname()[1], 5.0) for _ in range(5)]
    assert all(0 < each_s < 1 for each_s in taken_s)


@pytest.mark.real
async def test_where_nobody_listens_there_is_no_handshake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await handshake_s("127.0.0.1", port, 5.0)
