"""One Open Inference Protocol server, at home in a cloud replica, in the edge agent and alone.

`dataplane` answers calls as bytes and knows no transport; `server` puts it on a gRPC port; `litert` and `savedmodel`
run the models. Alone: `python -m workers.inference NAME=PATH --port 8001`.
"""
