"""`python -m workers.inference NAME=PATH ... --port P [--host 127.0.0.1]`."""

import argparse
import sys
from pathlib import Path

from workers.inference.errors import AddressUnusable, ModelLoadFailed
from workers.inference.serve import serve_files

__all__ = ["main", "serve_files"]


def _model(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if not separator or not name or not path:
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=PATH, for instance digits=digits.tflite")
    return name, Path(path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m workers.inference", description="Serve model files over the Open Inference Protocol."
    )
    parser.add_argument(
        "models", nargs="+", type=_model, metavar="NAME=PATH", help=".tflite, SavedModel folder or .tar"
    )
    parser.add_argument("--port", type=int, default=8001, help="0: a free one (default: 8001)")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: 127.0.0.1)")
    options = parser.parse_args(arguments)
    try:
        serve_files(options.models, options.host, options.port)
    except (ModelLoadFailed, AddressUnusable) as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
