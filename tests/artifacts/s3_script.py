"""The library on an S3-speaking server, in an environment that has one (locks/s3.in); says "ok" at the end.

What it is told of the server is what an operator would say: AWS_* in the environment and an s3:// address.
"""

import hashlib
import logging
import os
import random
import sys
from pathlib import Path

from moto.server import ThreadedMotoServer

# Before s3fs is loaded: it reads them once.
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server.start()
host, port = server.get_host_and_port()
os.environ |= {
    "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "eu-central-1",
}

import botocore.session  # noqa: E402

from workers.artifacts.errors import ArtifactCorrupt, ArtifactUnknown, OffsetBeyondEnd  # noqa: E402
from workers.artifacts.library import ArtifactLibrary  # noqa: E402

BLOCK_BYTES = 64 * 1024


def refuses(error: type[Exception], call: object, *arguments: object) -> bool:
    try:
        call(*arguments)  # type: ignore[operator]
    except error:
        return True
    return False


def main(folder: Path) -> None:
    s3 = botocore.session.get_session().create_client("s3")
    s3.create_bucket(Bucket="skerry", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    data = random.Random(1).randbytes(12_000_000)  # several parts
    (folder / "model").write_bytes(data)
    library = ArtifactLibrary("s3://skerry/artifacts")
    digest, size_bytes = library.add(folder / "model")
    name = f"artifacts/sha256/{digest.removeprefix('sha256:')}"
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="skerry")["Contents"]]
    assert keys == [name], keys
    assert library.add(folder / "model") == (digest, size_bytes) == (digest, len(data))

    with library.open(digest) as artifact:
        assert artifact.size_bytes == len(data)
        for offset in (0, 5, 7_000_001, len(data) - 3, 123):
            assert artifact.read(offset, BLOCK_BYTES) == data[offset : offset + BLOCK_BYTES], offset
        assert artifact.read(len(data), 10) == b""
        assert refuses(OffsetBeyondEnd, artifact.read, len(data) + 1, 1)
    with library.stream(digest) as stream:
        whole = hashlib.sha256()
        while block := stream.read(BLOCK_BYTES):
            whole.update(block)
        assert f"sha256:{whole.hexdigest()}" == digest

    for said in (b"first", b"second"):
        library.note("described/plant-7/a", said)
        assert library.noted("described/plant-7/a", 100) == said
    assert library.noted("described/plant-7/b", 100) == b""
    assert library.size(library.add_bytes(b"paper")) == 5

    assert library.local_path(digest, folder / "cache").read_bytes() == data
    s3.put_object(Bucket="skerry", Key=name, Body=b"?" * len(data))
    assert refuses(ArtifactCorrupt, library.local_path, digest, folder / "other-cache")
    s3.delete_object(Bucket="skerry", Key=name)
    assert refuses(ArtifactUnknown, library.open, digest)
    library.add(folder / "model")
    assert library.size(digest) == len(data)
    print("ok")


main(Path(sys.argv[1]))
server.stop()
