#!/usr/bin/env python3
"""Makes weights.bin and nfd.bin, the tables behind the unicode_loose_* vindexes.

    generate.py loose-weights.tsv.gz

weights.bin: records in the order of the list: u8 number of code points, each as u24, u8 length of the key, the key.
nfd.bin:     u16 number of decompositions, each: u24 code point, u8 length, that many u24 (full canonical decomposition);
             u16 number of runs of combining marks, each: u24 first, u16 count, u8 class.
Integers are little-endian. Hangul is left out: its decomposition is arithmetic.
"""
import gzip, os, sys, unicodedata

here = os.path.dirname(os.path.abspath(__file__))
u24 = lambda n: n.to_bytes(3, "little")
u16 = lambda n: n.to_bytes(2, "little")

out = bytearray()
for line in gzip.open(sys.argv[1], "rt"):
    points, key = line.rstrip("\n").split("\t")
    points, key = [int(p, 16) for p in points.split()], bytes.fromhex(key)
    out += bytes([len(points)]) + b"".join(map(u24, points)) + bytes([len(key)]) + key
open(os.path.join(here, "weights.bin"), "wb").write(out)

decompositions = []
for c in range(0x110000):
    if 0xD800 <= c < 0xE000 or 0xAC00 <= c < 0xD7A4:
        continue
    d = unicodedata.normalize("NFD", chr(c))
    if d != chr(c):
        decompositions.append((c, [ord(x) for x in d]))

# Python 3.11 knows Unicode 14; these marks came with 15.0, which added no decompositions.
NEW = {0x0ECE: 122, 0x10EFD: 220, 0x10EFE: 220, 0x10EFF: 220, 0x11F41: 9, 0x11F42: 9, 0x1E08F: 230,
       0x1E4EC: 232, 0x1E4ED: 232, 0x1E4EE: 220, 0x1E4EF: 230}
runs = []
for c in range(0x110000):
    k = unicodedata.combining(chr(c)) or NEW.get(c, 0)
    if not k:
        continue
    if runs and runs[-1][2] == k and runs[-1][0] + runs[-1][1] == c:
        runs[-1][1] += 1
    else:
        runs.append([c, 1, k])
out = bytearray(u16(len(decompositions)))
for c, d in decompositions:
    out += u24(c) + bytes([len(d)]) + b"".join(map(u24, d))
out += u16(len(runs))
for first, count, k in runs:
    out += u24(first) + u16(count) + bytes([k])
open(os.path.join(here, "nfd.bin"), "wb").write(out)
