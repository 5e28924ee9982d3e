"""Small TCP programs for looking at a network: `python -m tests.testbed.talk serve|dial|measure ...`.

serve PORT: takes connections, greets each with the address it sees, then sends back what comes, or the number of
bytes that were asked for. dial: prints what became of one try. measure: prints the seconds of one exchange.
"""

import socket
import sys
import threading
import time

BLOCK = bytes(64 << 10)


def serve(port: int) -> None:
    with socket.create_server(("0.0.0.0", port)) as server:
        print(f"listening on {port}", flush=True)
        while True:
            connection, (host, _) = server.accept()
            threading.Thread(target=answer, args=(connection, host), daemon=True).start()


def answer(connection: socket.socket, host: str) -> None:
    """Each line asks: `send N` for N bytes, `take N` for taking N bytes and saying so, else for the line again."""
    with connection, connection.makefile("rwb") as stream:
        try:
            stream.write(f"hello {host}\n".encode())
            stream.flush()
            for line in stream:
                match line.split():
                    case [b"send", count]:
                        for _ in range(int(count) // len(BLOCK)):
                            stream.write(BLOCK)
                    case [b"take", count]:
                        stream.read(int(count))
                        stream.write(b"taken\n")
                    case _:
                        stream.write(line)
                stream.flush()
        except OSError as err:
            print(f"{host}: {type(err).__name__}", flush=True)
        else:
            print(f"{host}: closed", flush=True)


def dial(host: str, port: int, limit_s: float) -> str:
    """What a server's greeting says, or the name of the error."""
    try:
        with socket.create_connection((host, port), limit_s) as connection:
            return connection.makefile().readline().strip()
    except OSError as err:
        return type(err).__name__


def hold(host: str, port: int, every_s: float) -> None:
    """Say something every so often and hear it again; prints the first exchange and how it ended."""
    with socket.create_connection((host, port), 5) as connection, connection.makefile("rw") as stream:
        print(stream.readline().strip(), flush=True)
        connection.settimeout(None)
        try:
            while True:
                stream.write("still there\n")
                stream.flush()
                if not stream.readline():
                    print("closed", flush=True)
                    return
                print("heard", flush=True)
                time.sleep(every_s)
        except OSError as err:
            print(type(err).__name__, flush=True)


def measure(host: str, port: int, order: str, count: int) -> float:
    """Seconds of `count` exchanges of one line, or of sending or taking `count` bytes."""
    with socket.create_connection((host, port), 5) as connection, connection.makefile("rwb") as stream:
        stream.readline()
        connection.settimeout(60)
        start_s = time.perf_counter()
        if order == "line":
            for _ in range(count):
                stream.write(b"hello\n")
                stream.flush()
                stream.readline()
        else:
            stream.write(f"{order} {count}\n".encode())
            if order == "take":
                for _ in range(count // len(BLOCK)):
                    stream.write(BLOCK)
            stream.flush()
            stream.read(count) if order == "send" else stream.readline()
        return time.perf_counter() - start_s


def main() -> None:
    match sys.argv[1:]:
        case ["serve", port]:
            serve(int(port))
        case ["dial", host, port, limit_s]:
            print(dial(host, int(port), float(limit_s)))
        case ["hold", host, port, every_s]:
            hold(host, int(port), float(every_s))
        case ["measure", host, port, order, count]:
            print(measure(host, int(port), order, int(count)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
