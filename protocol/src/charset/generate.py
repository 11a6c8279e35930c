#!/usr/bin/env python3
"""Writes table.rs: collations by id, from a MariaDB server and from what MySQL has besides.

usage: generate.py HOST PORT USER PASSWORD > table.rs

MySQL's ids up to 247 are MariaDB's; above are those of UCA 9.0.0 and of gb18030, listed here as in
https://dev.mysql.com/doc/refman/8.4/en/charset-unicode-sets.html (a test compares with another list).
"""
import subprocess
import sys

host, port, user, password = sys.argv[1:]

SHARED_MAX = 247
LANGUAGES = {"": 0, "de_pb_": 1, "is_": 2, "lv_": 3, "ro_": 4, "sl_": 5, "pl_": 6, "et_": 7, "es_": 8, "sv_": 9,
             "tr_": 10, "cs_": 11, "da_": 12, "lt_": 13, "sk_": 14, "es_trad_": 15, "la_": 16, "eo_": 18, "hu_": 19,
             "hr_": 20, "vi_": 22}
UCA900 = {255 + at: f"{language}0900_ai_ci" for language, at in LANGUAGES.items()}
UCA900 |= {278 + at: f"{language}0900_as_cs" for language, at in LANGUAGES.items()}
UCA900 |= {303: "ja_0900_as_cs", 304: "ja_0900_as_cs_ks", 305: "0900_as_ci", 306: "ru_0900_ai_ci",
           307: "ru_0900_as_cs", 308: "zh_0900_as_cs", 309: "0900_bin"}
for at, language in enumerate(["nb", "nn", "sr_latn", "bs", "bg", "gl", "mn_cyrl"]):
    UCA900 |= {310 + 2 * at: f"{language}_0900_ai_ci", 311 + 2 * at: f"{language}_0900_as_cs"}
GB18030 = {248: "chinese_ci", 249: "bin", 250: "unicode_520_ci"}
MYSQL_DEFAULTS = {"utf8mb4": 255, "gb18030": 248}


def ask(sql):
    out = subprocess.run(["mariadb", f"-h{host}", f"-P{port}", f"-u{user}", f"-p{password}", "-BNe", sql],
                         check=True, capture_output=True, text=True).stdout
    return [line.split("\t") for line in out.splitlines()]


maxlen = {name: int(length) for name, length in
          ask("SELECT character_set_name, maxlen FROM information_schema.character_sets")}
maxlen["gb18030"] = 4  # MySQL only
maria = {int(i): (name, charset, default == "Yes") for i, name, charset, default in
         ask("SELECT id, full_collation_name, character_set_name, is_default "
             "FROM information_schema.collation_character_set_applicability")}
mysql = {i: row for i, row in maria.items() if i <= SHARED_MAX}
mysql |= {i: (f"utf8mb4_{name}", "utf8mb4", False) for i, name in UCA900.items()}
mysql[76] = ("utf8mb3_tolower_ci", "utf8mb3", False)
mysql |= {i: (f"gb18030_{name}", "gb18030", False) for i, name in GB18030.items()}
for charset, default in MYSQL_DEFAULTS.items():
    mysql = {i: (name, cs, i == default if cs == charset else d) for i, (name, cs, d) in mysql.items()}

charsets = sorted(maxlen)
print("//! Written by generate.py. Do not edit.\n")
print("use super::CharsetRow;\n")
print("/// Name, bytes per character at most, default collation of MySQL and of MariaDB (0: has not got it).")
print("#[rustfmt::skip]")
print(f"pub(super) static CHARSETS: [CharsetRow; {len(charsets)}] = [")
for name in charsets:
    defaults = [next((i for i, (_, cs, d) in sorted(table.items()) if d and cs == name), 0) for table in (mysql, maria)]
    print(f'    ("{name}", {maxlen[name]}, {defaults[0]}, {defaults[1]}),')
print("];\n")
both = dict(maria)
for i, (name, charset, _) in mysql.items():
    if i in maria:
        assert maria[i][:2] == (name, charset), (i, maria[i], mysql[i])
    both[i] = mysql[i]
print("/// Id, place of the character set in `CHARSETS`, name without the character set in front. Sorted by id.")
print("#[rustfmt::skip]")
print(f"pub(super) static COLLATIONS: [(u16, u8, &str); {len(both)}] = [")
for i, (name, charset, _) in sorted(both.items()):
    assert name == charset or name.startswith(charset + "_"), (name, charset)
    print(f'    ({i}, {charsets.index(charset)}, "{name[len(charset):]}"),')
print("];")
