"""Damaged files: bytes at random, and structures that a format allows but nobody writes.

`mutated` takes a sound file and a seed and returns a damaged one; `MUTATORS` has one per format.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import random
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

Random = random.Random
NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 1 << 20, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
           1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)  # fmt: skip
WORDS = (
    "", " ", "0", "1", "-1", "-0.0", "1.5", "nan", "NaN", "inf", "-Infinity", "1e999", "1e-999",
    "9" * 30, "1" * 5000, "1_000", "٣", "0x10", "true", "null", "None", "é", "\0", "\udcff",
    "a" * 10_000, "=1+1", "../../x", "/etc/passwd", "[bold]", "%s %d {0}", "\n", '"', ",", "\ufeff",
)  # fmt: skip


class Raw(str):
    """Text that `json_text` copies as it is."""


class Pairs(list[list[Any]]):
    """An object of JSON that may have a key twice."""


JSON_VALUES = (
    None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e308, float("nan"), float("inf"), -float("inf"),
    10**30, 2**63, 2**64, -(2**63), Raw("1e999"), Raw("9" * 4000), Raw("9" * 5000),
    Raw("[" * 100_000 + "]" * 100_000), Raw('{"a":' * 50_000 + "1" + "}" * 50_000),
    Raw("[" * 900 + "]" * 900), Raw('"\\ud800"'), Raw(""), Raw("nul"),
    [], Pairs(), [[]], [None], [0, "a"], [1.5, 2.5], Pairs([["$array", 3]]),
    Pairs([["$dict", [[[], 1]]]]), Pairs([["$tuple", 5]]), Pairs([["$complex", [1, 2, 3]]]),
    Pairs([["$complex", "a"]]), Pairs([["plain", 1]]), Pairs([["", None]]),
)  # fmt: skip


def mutated(kind: str, contents: bytes, seed: object) -> bytes:
    """Return a damaged copy of a file of this kind; a third of the times of its bytes only."""
    rng = Random(str(seed))
    if kind == "bytes" or rng.random() < 0.33:
        return mutate_bytes(contents, rng)
    damaged = contents
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        try:
            damaged = MUTATORS[kind](damaged, rng)
        except Exception:  # it is too damaged to have the structure
            return mutate_bytes(damaged, rng)
        if len(damaged) > 1 << 20 > len(contents):
            break  # gigabytes if it is read
    return damaged


def mutate_bytes(contents: bytes, rng: Random) -> bytes:
    """Flip, zero, cut, insert, double or swap some bytes, or change a length."""
    data = bytearray(contents)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        size = len(data)
        at = rng.randrange(size + 1)
        if rng.random() < 0.5:  # headers are at the beginning, or at the end
            at = rng.choice((at % 64, max(size - at % 64, 0)))
        n = rng.choice((1, 2, 4, 8, 16, 100, 1000))
        block = bytes(data[at : at + n])
        match rng.randrange(9):
            case 0:
                for k in range(at, min(at + rng.choice((1, 3)), size)):
                    data[k] ^= 1 << rng.randrange(8)
            case 1:
                del data[at:]
            case 2:
                data[at : at + n] = bytes(len(block))
            case 3:
                data[at:at] = block
            case 4:
                del data[at : at + n]
            case 5:
                data[at:at] = rng.choice((rng.randbytes(n), b"\0" * n, b"\xff" * n, b"[" * n))
            case 6:
                other = rng.randrange(size + 1)
                data[at : at + n], data[other : other + n] = data[other : other + n], block
            case 7:
                width, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
                number = rng.choice(NUMBERS) % (1 << 8 * width)
                data[at : at + width] = number.to_bytes(width, order)
            case 8:
                data += rng.choice((block, rng.randbytes(n), bytes(contents)))
    return bytes(data)


def json_text(value: Any) -> str:
    """Return JSON, also of what `json.dumps` cannot write."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Pairs):
        return f"{{{','.join(f'{json_text(k)}:{json_text(v)}' for k, v in value)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(json_text, value))}]"
    return json.dumps(value)


def mutate_tree(value: Any, rng: Random) -> Any:
    """Return a copy of a tree of JSON in which one place is changed."""
    if isinstance(value, list) and value and rng.random() < 0.85:
        copy = type(value)(value)
        k = rng.randrange(len(copy))
        action = rng.choice(("inside",) * 6 + ("leave out", "double", "swap", "rename"))
        if action == "leave out":
            del copy[k]
        elif action == "double":
            copy.insert(k, mutate_tree(copy[k], rng) if rng.random() < 0.5 else copy[k])
        elif action == "swap":
            other = rng.randrange(len(copy))
            copy[k], copy[other] = copy[other], copy[k]
        elif action == "rename" and isinstance(copy, Pairs):
            copy[k] = [rng.choice((*WORDS[:-7], copy[k][0] + "x")), copy[k][1]]
        elif isinstance(copy, Pairs):
            copy[k] = [copy[k][0], mutate_tree(copy[k][1], rng)]
        else:
            copy[k] = mutate_tree(copy[k], rng)
        return copy
    if isinstance(value, str) and value[:1] in ("{", "[") and rng.random() < 0.9:
        return mutate_json(value.encode(), rng).decode()  # JSON within JSON
    if isinstance(value, int | float) and rng.random() < 0.3:
        return value + rng.choice((-1, 1, 0.5, 1000))
    return rng.choice((*JSON_VALUES, rng.choice(WORDS), rng.choice(NUMBERS)))


def mutate_json(contents: bytes, rng: Random) -> bytes:
    """Change a value, a key or the order somewhere."""
    tree = json.loads(contents, object_pairs_hook=lambda pairs: Pairs(map(list, pairs)))
    text = json_text(mutate_tree(tree, rng))
    return rng.choice(("",) * 20 + ("\ufeff", " " * 1000)).encode() + text.encode()


def mutate_safetensors(contents: bytes, rng: Random) -> bytes:
    """Change the header, mostly without its checksum, which would notice."""
    size = int.from_bytes(contents[:8], "little")
    tree = json.loads(contents[8 : 8 + size], object_pairs_hook=lambda p: Pairs(map(list, p)))
    if rng.random() < 0.9:
        for key, entries in tree:
            if key == "__metadata__":
                entries[:] = [pair for pair in entries if pair[0] != "sha256"]
    body, action = contents[8 + size :], rng.randrange(8)
    if action == 0:
        body = mutate_bytes(body, rng)
    elif action == 1 and (arrays := [v for k, v in tree if k != "__metadata__"]):
        fields = dict(rng.choice(arrays))
        fields |= rng.choice((
            {"dtype": rng.choice(("F8_E5M2", "BF16", "F16", "BOOL", "I64", "U8", "C64", "F4", ""))},
            {"shape": rng.choice(([], [0], [-1], [2**40], [2**32] * 3, [1] * 70, [0, 2**63]))},
            {"data_offsets": rng.choice(([0, 0], [8, 4], [-8, 8], [0, 2**63], [0], [0, 1, 2]))},
        ))  # fmt: skip
        k = next(k for k, (_, v) in enumerate(tree) if dict(v).keys() == fields.keys())
        tree[k][1] = Pairs(map(list, fields.items()))
    else:
        tree = mutate_tree(tree, rng)
    text = json_text(tree).encode("utf-8", "surrogatepass")
    if rng.random() < 0.9:
        text += b" " * (-len(text) % 8)
    claimed = rng.choice(NUMBERS) if rng.random() < 0.05 else len(text)
    return claimed.to_bytes(8, "little") + text + body


def npy(array: Any) -> bytes:
    """Return an array as a .npy file; one of objects is pickled."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@cache
def zeros(megabytes: int) -> bytes:
    """Return the deflated form of so many megabytes of zeros, made in no time."""
    deflate = zlib.compressobj(9, wbits=-15)
    first = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return first * megabytes + zlib.compressobj(wbits=-15).flush()


def mutate_npy(contents: bytes, rng: Random) -> bytes:
    """Change dtype, shape or order in the header, or put another array there."""
    start, size = 10, int.from_bytes(contents[8:10], "little")
    header, body = contents[start : start + size].decode(), contents[start + size :]
    array = np.load(io.BytesIO(contents))
    action = rng.randrange(5)
    if action == 0:
        return mutate_bytes(contents, rng)
    if action == 1:
        kinds = "|O", "|V8", "<U3", "S5", "<M8[s]", "<c8", "<f8", "<f2", "|b1", "<u8", ">i4", "<g"
        header = header.replace(array.dtype.str, rng.choice(kinds))
    elif action == 2:
        shapes = ("(-1,)", "(99999999999,)", "(1, 0, 9999999999999)", "()", "(2.5,)", "None",
                  "(" * 300, "(1,)*9", "(True, 3)", "(" + "1," * 70 + ")")  # fmt: skip
        header = header.replace(str(array.shape), rng.choice(shapes))
    elif action == 3:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            arrays = (
                array.astype("f4"), array.astype("f8") * np.nan, array.astype("i2") - 3,
                array.astype(object), array[:0], array[..., None], array.T, np.array(3), array > 0,
                array.astype("U"), array.astype("c8"), array.astype("M8[s]"),
                array.astype("f2") * 9e4,
                np.array([("a", 1)], "U1,i4"), np.array([1 << 62]), np.array(["1", "2"]),
                array.astype("f4") / 255, array.astype(">i8"), np.zeros((2,) * 20, "u1"),
            )  # fmt: skip
        return npy(rng.choice(arrays))
    else:
        header = rng.choice((header * 200, header[: rng.randrange(size)], "[" * 5000, "{}", "1"))
    text = header.encode().ljust(size)
    return contents[:8] + (len(text) % 65536).to_bytes(2, "little") + text + body


def mutate_zip(contents: bytes, rng: Random) -> bytes:
    """Write an archive again with a member changed, renamed, doubled, encrypted or endless."""
    with zipfile.ZipFile(io.BytesIO(contents)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    names = list(members)
    name = rng.choice(names)
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2,
                         zipfile.ZIP_LZMA))  # fmt: skip
    out, action = io.BytesIO(), rng.randrange(12)
    with zipfile.ZipFile(out, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of doubled names
        for each in names:
            data, written = members[each], each
            if each == name and action < 5:
                data = mutate_npy(data, rng)
            elif each == name and action == 5:
                written = rng.choice((
                    each + "/", "/" + each, "../" + each, each[:-4], each + ".npy", each.upper(),
                    "", "\0" + each, "a" * 60_000, "é.npy",
                ))  # fmt: skip
            elif each == name and action == 6:
                archive.writestr(each, mutate_npy(data, rng))
            elif each == name and action == 7:
                continue
            elif each == name and action == 8:
                data = b""
            with archive.open(written, "w", force_zip64=action == 9) as file:
                file.write(data)
    data = bytearray(out.getvalue())
    central = data.rfind(b"PK\x01\x02")  # the entry of the last member
    local = int.from_bytes(data[central + 42 : central + 46], "little")
    if action == 10:  # fields of a member: flags, method, checksum and sizes, in both headers
        offset, width = rng.choice(((6, 2), (8, 2), (14, 4), (18, 4), (22, 4), (26, 2), (28, 2)))
        value = rng.choice((*NUMBERS, 1, 8, 9, 0x41, 0x800)) % (1 << 8 * width)
        for place in (local + offset, central + offset + 2 + 0 * width):
            if rng.random() < 0.8:
                data[place : place + width] = value.to_bytes(width, "little")
    elif action == 11:
        return endless(name, members[name], rng)
    return bytes(data)


def endless(name: str, member: bytes, rng: Random) -> bytes:
    """Return an archive whose member becomes gigabytes when it is read."""
    length = int.from_bytes(member[8:10], "little") + 10
    header = member[:length].replace(b"(", b"(%d," % rng.choice((1 << 33, 1 << 20, 100)), 1)
    megabytes = 4096
    start = zlib.compressobj(9, wbits=-15)
    deflated = start.compress(header[:length]) + start.flush(zlib.Z_FULL_FLUSH) + zeros(megabytes)
    claimed = rng.choice((length + (megabytes << 20), 1 << 50, len(member), 1000))
    size = struct.pack("<QQ", claimed, len(deflated))
    encoded = name.encode()
    extra = struct.pack("<HH", 1, 16) + size
    common = struct.pack("<HHHHHIIIHH", 45, 0, 8, 0, 0, 0, 2**32 - 1, 2**32 - 1, len(encoded), 20)
    local = b"PK\x03\x04" + common + encoded + extra + deflated
    central = b"PK\x01\x02\x2d\0" + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + encoded + extra
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end


def mutate_idx(contents: bytes, rng: Random) -> bytes:
    """Change the element type, the number of axes or a length."""
    data = bytearray(contents)
    axes = data[3]
    match rng.randrange(4):
        case 0:
            data[2] = rng.choice((0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E, 0x00, 0xFF))
        case 1:
            data[3] = rng.choice((0, 1, 2, 3, 4, 33, 65, 255))
        case 2:
            at = 4 + 4 * rng.randrange(max(axes, 1))
            data[at : at + 4] = (rng.choice(NUMBERS) % (1 << 32)).to_bytes(4, "big")
        case 3:
            data[4 + 4 * axes :] = rng.randbytes(len(data) - 4 - 4 * axes)
    return bytes(data)


def zipped(mutate: Callable[[bytes, Random], bytes]) -> Callable[[bytes, Random], bytes]:
    """Return a mutator of what is in a gzip file."""

    def inside(contents: bytes, rng: Random) -> bytes:
        plain = mutate(gzip.decompress(contents), rng)
        if rng.random() < 0.03:
            header = gzip.compress(plain, mtime=0)[:10]
            whole = zlib.compressobj(wbits=-15)
            return header + whole.compress(plain) + whole.flush(zlib.Z_FULL_FLUSH) + zeros(4096)
        again = gzip.compress(plain, 1, mtime=0)
        return again * 2 if rng.random() < 0.05 else again

    return inside


def mutate_csv(contents: bytes, rng: Random) -> bytes:
    """Change a cell, a row or a column, the ends of lines or the encoding."""
    lines = contents.decode().split("\n")
    first = 1 if lines[0].startswith("# ") else 0
    rows = list(csv.reader(lines[first:-1]))
    r = rng.randrange(len(rows))
    c = rng.randrange(len(rows[r])) if rows[r] else 0
    action = rng.randrange(12)
    if action < 5:
        rows[r][c] = rng.choice(WORDS)
    elif action == 5:
        rows.insert(r, list(rng.choice(rows)))
    elif action == 6:
        del rows[r]
    elif action == 7:
        del rows[r][c]
    elif action == 8:
        rows[r].insert(c, rng.choice(WORDS))
    elif action == 9:
        for row in rows:
            row.insert(c, rng.choice((rows[0][c], *WORDS)))
    elif action == 10 and first:
        lines[0] = "# " + mutate_json(lines[0][2:].encode(), rng).decode()
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=rng.choice(("\n", "\n", "\r\n", "\r"))).writerows(rows)
    joined = "\n".join([*lines[:first], text.getvalue()])
    encoding = rng.choice(("utf-8",) * 20 + ("utf-16", "utf-8-sig", "cp1252"))
    return joined.encode(encoding, "surrogatepass" if "utf" in encoding else "replace")


OPCODES = (
    bytes(range(32, 128)) + b"\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x93\x94\x95"
)


def mutate_pickle(contents: bytes, rng: Random) -> bytes:
    """Insert an operation, or pickle other data in the same places."""
    if rng.random() < 0.5:
        data, at = bytearray(contents), rng.randrange(len(contents))
        argument = rng.choice(
            (b"", b"\xff\xff\xff\x7f", b"999999999\n", b"os\nsystem\n", b"\0" * 8)
        )
        data[at:at] = bytes([rng.choice(OPCODES)]) + argument
        return bytes(data)
    batch = pickle.loads(contents, encoding="bytes")
    key = rng.choice(list(batch))
    values = (
        None, 3, "a", [], {}, [1.5], ["a"], [[1], [2, 3]], [2**70], np.zeros(3), batch[key],
        np.zeros((2, 3072), "u1"), np.zeros((2, 3072), "f4"), {b"data": 1}, (), [None],
        np.zeros((0, 3072), "u1"), [float("nan")], [True, -1], range, np.array(1, "u1"),
    )  # fmt: skip
    batch[rng.choice((key, b"other", 3))] = rng.choice(values)
    return pickle.dumps(batch, rng.randrange(6))


def mutate_tar(contents: bytes, rng: Random) -> bytes:
    """Write an archive again with a member changed, renamed, doubled or linked."""
    out = io.BytesIO()
    form = rng.choice((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT))
    with (
        tarfile.open(fileobj=io.BytesIO(contents)) as old,
        tarfile.open(fileobj=out, mode="w", format=form) as new,
    ):
        members = [m for m in old.getmembers() if m.isfile()]
        chosen, action = rng.choice(members), rng.randrange(8)
        for member in members:
            file = old.extractfile(member)
            data = b"" if file is None else file.read()
            if member is chosen:
                if action < 2:
                    data = mutate_bytes(data, rng)
                elif action == 2:
                    member.name = rng.choice(("../" + member.name, "/x", "a" * 3000, "", "é"))
                elif action == 3:
                    kinds = b"1234567SxgLK"  # links, devices, folders, sparse files, headers
                    member.type = rng.choice([bytes([kind]) for kind in kinds])
                    member.linkname = rng.choice((member.name, "/etc/passwd", ""))
                elif action == 4:
                    member.pax_headers = {"size": rng.choice(WORDS), "path": rng.choice(WORDS)}
                elif action == 5:
                    continue
                elif action == 6:
                    new.addfile(member, io.BytesIO(data))
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    return out.getvalue()


def mutate_png(contents: bytes, rng: Random) -> bytes:
    """Change the size, the depth or the kind of color in the header, with its right checksum."""
    data = bytearray(contents)
    at, width = rng.choice(((16, 4), (20, 4), (24, 1), (25, 1), (28, 1)))
    data[at : at + width] = (rng.choice(NUMBERS) % (1 << 8 * width)).to_bytes(width, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def mutate_text(contents: bytes, rng: Random) -> bytes:
    """Double, swap, indent or leave out a line, or put a strange word into one."""
    lines = contents.decode().split("\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(5):
        case 0:
            lines.insert(a, lines[b])
        case 1:
            lines[a], lines[b] = lines[b], lines[a]
        case 2:
            lines[a] = " " + lines[a]
        case 3:
            del lines[a]
        case 4:
            at = rng.randrange(len(lines[a]) + 1)
            lines[a] = lines[a][:at] + rng.choice(WORDS) + lines[a][at:]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def mutate_json_lines(contents: bytes, rng: Random) -> bytes:
    """Change the JSON of a line, or the lines."""
    lines = contents.split(b"\n")
    k = rng.randrange(len(lines) - 1)
    if rng.random() < 0.3:
        return mutate_text(contents, rng)
    return b"\n".join([*lines[:k], mutate_json(lines[k], rng), *lines[k + 1 :]])


MUTATORS: dict[str, Callable[[bytes, Random], bytes]] = {
    "json": mutate_json,
    "jsonl": mutate_json_lines,
    "safetensors": mutate_safetensors,
    "zip": mutate_zip,
    "idx": mutate_idx,
    "idx.gz": zipped(mutate_idx),
    "csv": mutate_csv,
    "pickle": mutate_pickle,
    "tar.gz": zipped(mutate_tar),
    "png": mutate_png,
    "text": mutate_text,
}
