"""Artifacts and their manifests for tests, cut small so that a few kilobytes have many chunks."""

import hashlib
import random
from pathlib import Path

from workers.artifacts.assembly import Assembly
from workers.artifacts.digest import digest_of_bytes
from workers.artifacts.disk import ArtifactFolder
from workers.artifacts.manifest import Manifest, manifest_of


def bytes_of(seed: int, size_bytes: int) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def cut_small(data: bytes, namespace: str = "default", size_bytes: int = 1000) -> Manifest:
    pieces = [data[at : at + size_bytes] for at in range(0, len(data), size_bytes)]
    sums = [(len(piece), hashlib.sha256(piece).digest()) for piece in pieces]
    return manifest_of(digest_of_bytes(data), len(data), "tflite", namespace, sums)


def hold(folder: ArtifactFolder, data: bytes, namespace: str = "default") -> Path:
    """As a former fetch left it: whole, with its manifest."""
    manifest = cut_small(data, namespace)
    folder.papers.keep(manifest.artifact, manifest.encode())
    with folder.assembly(manifest) as assembly:
        take(assembly, data)
        return assembly.commit()


def take(assembly: Assembly, data: bytes, most_bytes: int = 1 << 20, at_most: int | None = None) -> int:
    """Give what is asked for, `at_most` bytes of it; answers how many were given."""
    given = 0
    while ranges := assembly.wanted(most_bytes):
        for offset, size_bytes in ranges:
            for at in range(offset, offset + size_bytes, 300):
                piece = data[at : min(at + 300, offset + size_bytes)]
                if at_most is not None:
                    piece = piece[: at_most - given]
                if not piece or not assembly.put(at, piece):
                    return given
                given += len(piece)
    return given
