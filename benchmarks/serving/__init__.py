"""Requests per second of one server core: our inference server against a bare gRPC server with the same models."""
