"""The command `skerry`. It starts in 0.3 s: grpc, rich, yaml and pydantic are imported where they are needed."""
