"""A replica as a process of its own, to be killed: echoes after 20 ms, prints its address."""

import time
from concurrent.futures import ThreadPoolExecutor

import grpc


class Echo(grpc.GenericRpcHandler):
    def service(self, handler_call_details):  # type: ignore[no-untyped-def]
        return grpc.unary_unary_rpc_method_handler(answer)


def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
    time.sleep(0.02)
    return request


if __name__ == "__main__":
    server = grpc.server(ThreadPoolExecutor(32), handlers=(Echo(),))
    print(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", flush=True)
    server.start()
    server.wait_for_termination()
