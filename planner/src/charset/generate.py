#!/usr/bin/env python3
"""Makes single.bin: what the bytes 0x80 to 0xff are in each character set of one byte a character.

    generate.py HOST PORT USER PASSWORD        of a MariaDB or MySQL server, which is asked for each byte

For each set, in the order of SETS (charset.rs has the same): 128 code points as little-endian u16; 0 where there is none.
"""
import os, subprocess, sys

host, port, user, password = sys.argv[1:]
SETS = ["armscii8", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8", "geostd8", "greek",
        "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5", "latin7", "macce", "macroman",
        "tis620"]
out = bytearray()
for name in SETS:
    columns = ", ".join(f"HEX(CONVERT(_{name} 0x{byte:02X} USING utf8mb4))" for byte in range(256))
    row = subprocess.run(["mariadb", f"-h{host}", f"-P{port}", f"-u{user}", f"-p{password}", "-BNe", f"SELECT {columns}"],
                         check=True, capture_output=True, text=True).stdout.split()
    points = [ord(bytes.fromhex(text).decode()) for text in row]
    # A question mark stands for what is not a character.
    points = [0 if point == 0x3F and byte != 0x3F else point for byte, point in enumerate(points)]
    assert points[:128] == list(range(128)), name
    out += b"".join(point.to_bytes(2, "little") for point in points[128:])
open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "single.bin"), "wb").write(out)
