#!/usr/bin/env python3
"""Restores one output from a lockstep store, without lockstep. docs/formats.md describes the format.

usage: restore.py STORE LOCK OUTPUT TARGET    STORE may be a remote that is a folder; OUTPUT as the lock spells it
"""
import glob, json, os, re, struct, sys

FILE, EXECUTABLE, SYMLINK, TREE = range(4)

def find_pin(lock, output):
    """What the lock says of an output of a stage, or of tracked data: {"blake3": ..., "size": ..., ...}."""
    name = "(?:%s|%s)" % (re.escape(output), re.escape(json.dumps(output, ensure_ascii=False)))
    entry = rf"^(?:data:\n(?:  .*\n)*?  {name}:|    outs:\n(?:      .*\n)*?      {name}:)\n((?: +\w+: .*\n)+)"
    match = re.search(entry, open(lock, encoding="utf-8").read(), re.MULTILINE)
    return dict(re.findall(r"(\w+): (.*)", match[1])) if match else sys.exit(f"{lock} has no output {output}")

def find_objects(store):
    """Where each object lies: hexadecimal id -> (path, offset, length)."""
    objects = {}
    for path in glob.glob(os.path.join(glob.escape(store), "packs", "*.pack")):
        with open(path, "rb") as pack:
            magic, version = struct.unpack("<8sI", pack.read(12))
            pack.seek(-56, os.SEEK_END)
            count, index, _, end = struct.unpack("<QQ32s8s", pack.read(56))
            if (magic, version, end) != (b"lockpack", 1, b"lockpend"):
                sys.exit(f"{path} is not a pack of a known format")
            pack.seek(index)
            for id, _, offset, length in struct.iter_unpack("<32sBQQ", pack.read(count * 49)):
                objects[id.hex()] = (path, offset, length)
    for path in glob.glob(os.path.join(glob.escape(store), "objects", "??", "*")):
        objects["".join(path.split(os.sep)[-2:])[-64:]] = (path, 0, os.path.getsize(path))
    return objects

def restore(objects, id, kind, target):
    path, offset, left = objects.get(id) or sys.exit(f"the store has no object {id}")
    with open(path, "rb") as source:
        source.seek(offset)
        if kind == SYMLINK:
            return os.symlink(source.read(left), target)
        if kind != TREE:
            with open(target, "xb", opener=lambda *at: os.open(*at, 0o755 if kind == EXECUTABLE else 0o644)) as file:
                while chunk := source.read(min(left, 1 << 20)):
                    left -= file.write(chunk)
            return left and sys.exit(f"{path} is cut short")
        os.mkdir(target)
        version, count = struct.unpack("<BI", source.read(5))
        for _ in range(count):
            kind, size = struct.unpack("<BH", source.read(3))
            name, child = source.read(size), source.read(32).hex()
            source.read(16 if kind == TREE else 8)
            if version != 1 or name in (b"", b".", b"..") or b"/" in name:
                sys.exit(f"{id} is not a tree of a known format")
            restore(objects, child, kind, os.path.join(os.fsencode(target), name))

if len(sys.argv) != 5:
    sys.exit(__doc__)
pin = find_pin(*sys.argv[2:4])
kind = TREE if "files" in pin else EXECUTABLE if "executable" in pin else FILE
restore(find_objects(sys.argv[1]), pin["blake3"], kind, sys.argv[4])
