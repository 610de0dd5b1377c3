"""The process that decodes what may be hostile: little memory, no files, no core dumps, one job after the other.

Started by :mod:`adapters.dicom.pictures.pool`. It reads jobs from its standard input and answers on its standard
output, each a length of four bytes and MessagePack.
"""

import contextlib
import resource
import sys
from io import BytesIO
from typing import BinaryIO

import msgspec
from PIL import Image as Pillow

from adapters.dicom.pictures.draw import draw
from adapters.dicom.pictures.image import Image
from adapters.dicom.pictures.native import native
from adapters.dicom.pictures.options import MEDIA_TYPES, Options, Unrenderable


class Job(msgspec.Struct, frozen=True):
    """Draw a frame, or without options decode it."""

    image: Image
    data: bytes
    frame: int
    options: Options | None


class Done(msgspec.Struct, frozen=True):
    """The picture's bytes, or the samples' with their photometric interpretation; or why there are none."""

    content: bytes = b""
    photometric: str = ""
    problem: str = ""


def do(job: Job) -> Done:
    """Do a job, whatever comes of it."""
    try:
        if job.options is not None:
            return Done(draw(job.image, job.data, job.frame, job.options).content)
        found = native(job.image, job.data, job.frame)
        return Done(found.content, found.photometric)
    except Unrenderable as error:
        return Done(problem=error.text)
    except MemoryError:
        return Done(problem="The frame needs too much memory.")
    except Exception:  # noqa: BLE001  # a codec raises whatever broken bytes lead it to
        return Done(problem="The frame cannot be decoded.")


def main(arguments: list[str]) -> int:
    """Confine this process, then work until the input ends."""
    _load_all()
    for kind, limit in (
        (resource.RLIMIT_AS, int(arguments[0])),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 3),  # what is open stays open; no file and no socket is opened any more
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    jobs, answers = sys.stdin.buffer, sys.stdout.buffer
    decoder, encoder = msgspec.msgpack.Decoder(Job), msgspec.msgpack.Encoder()
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        while True:
            content = _read(jobs)
            if content is None:
                return 0
            answer = encoder.encode(do(decoder.decode(content)))
            answers.write(len(answer).to_bytes(4, "big") + answer)
            answers.flush()
    return 0


def _load_all() -> None:
    """Do one of each job, so that nothing has to be imported later."""
    image = Image(transfer_syntax="", rows=1, columns=1, samples=1, photometric="MONOCHROME2", length=2)
    for media_type in MEDIA_TYPES:
        do(Job(image, b"\0\0", 1, Options(media_type=media_type, viewport=(2, 2))))
    with Pillow.open(BytesIO(do(Job(image, b"\0\0", 1, Options())).content), formats=("JPEG",)) as picture:
        picture.load()


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(4)
    if len(head) < 4:
        return None
    length = int.from_bytes(head, "big")
    content = stream.read(length)
    return content if len(content) == length else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
