"""Whether an audio file is shorter than it says, where libraries read what is there without a word."""

from __future__ import annotations

import os
import re
import struct
from typing import BinaryIO

from .opening import Opened, binary

_SIZES = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""What libsndfile logs of WAV; AIFF; AU; W64 and RF64."""


def says_nothing(size: int) -> bool:
    """Whether a size in a header stands for one that was not known, as programs that write to a pipe leave it: 0, or
    about the largest number of 31 or 32 bits."""
    return size == 0 or (size < 2**32 and size & 0x7FFF0000 == 0x7FFF0000)


def may_lack(content: Opened, format: str) -> int:
    """Samples by which a whole file may be shorter than libsndfile says: an MP3 whose first frame does not count the
    others (the tags Xing and Info do) has an estimated length, good to about two frames of 1152 samples. In an Ogg
    stream, samples before position 0 are to be left out, as FFmpeg and some encoders have them; libsndfile leaves them
    out and counts them. They are half a block or less, of at most 8192 samples. (For an Ogg file's end there is
    `is_truncated`.)"""
    if format == "OGG":
        return 4096
    if format != "MP3":
        return 0
    with binary(content) as stream:
        if (head := stream.read(10))[:3] == b"ID3":
            stream.seek(10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)))
        start = head + stream.read(4096)
    return 0 if b"Xing" in start or b"Info" in start else 2304


def is_truncated(content: Opened, format: str, log: str) -> bool:
    """Of a file that libsndfile opened, by its format and log."""
    with binary(content) as stream:
        length = stream.seek(0, os.SEEK_END)
        if format.startswith("OGG"):
            stream.seek(max(0, length - (1 << 17)))  # a page has 65 kB at most
            tail = stream.read()
            page = tail[tail.rfind(b"OggS") :]
            # A whole last page without its end-of-stream flag is fine: there are writers that never set it.
            return len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
        if format.startswith("CAF"):
            end, kind = 8, b""
            while end + 12 <= length and kind != b"data":
                stream.seek(end)
                kind, size = struct.unpack(">4sq", stream.read(12))
                end += 12 + max(size, 0)  # -1 is a size that was not known
            return end > length
    return any(int(actual) < int(size) and not says_nothing(int(size)) for size, actual in _SIZES.findall(log))


def container_is_truncated(stream: BinaryIO, demuxer: str) -> bool:
    """Of a container of `media`, as far as it knows its own size."""
    return {"mov": _mov_end, "avi": _avi_end, "matroska": _matroska_end, "asf": _asf_end}[demuxer](stream) > (
        stream.seek(0, os.SEEK_END)
    )


def _mov_end(stream: BinaryIO) -> int:
    end, size = 0, 8
    while size >= 8 and len(head := _at(stream, end, 16)) >= 8:
        size = int.from_bytes(head[:4], "big")  # 0 is a box to the end of the file
        if size == 1:
            size = int.from_bytes(head[8:], "big")
        end += size
    return end


def _avi_end(stream: BinaryIO) -> int:
    end = 0
    while len(head := _at(stream, end, 8)) == 8 and head[:4] == b"RIFF":
        size = int.from_bytes(head[4:], "little")
        if says_nothing(size):
            return 0
        end += 8 + size
    return end


def _matroska_end(stream: BinaryIO) -> int:
    """The end of the first segment, which follows the file's head: each an identifier of 4 bytes, then a size."""
    end = 0
    for _ in range(2):
        head = _at(stream, end + 4, 8)
        width = 9 - head[0].bit_length() if head and head[0] else 8  # the leading zeros of a size count its bytes
        size = int.from_bytes(head[:width], "big") & ~(1 << 7 * width)
        if size == (1 << 7 * width) - 1:  # not known
            return 0
        end += 4 + width + size
    return end


_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _asf_end(stream: BinaryIO) -> int:
    """What the object with the file's properties says, one of those in its head."""
    place, size = 30, 24
    while size >= 24 and len(head := _at(stream, place, 48)) == 48:
        size = int.from_bytes(head[16:24], "little")
        if head[:16] == _ASF_PROPERTIES:
            return int.from_bytes(head[40:], "little")
        place += size
    return 0


def _at(stream: BinaryIO, place: int, count: int) -> bytes:
    if place >= 1 << 62:  # more than some streams can seek to
        return b""
    stream.seek(place)
    return stream.read(count)
