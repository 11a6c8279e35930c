//! Values by the type of the column that they are compared with or put into: the plain ones, and
//! those that a server reads as others (`'5x'`, `5.4`, `0x05` for a number), cuts, rounds, pads or
//! refuses.

/// A table's vindex column.
pub struct Kind {
    pub table: &'static str,
    pub column: &'static str,
    pub vindex: &'static str,
    pub values: &'static [&'static str],
}

// Without digits that the column has not: what MariaDB finds for `k = 4.5` depends on the index
// that it looks into, where it rounds. Rows are written with some (see `row`).
#[rustfmt::skip]
const INTEGERS: &[&str] = &[
    "0", "1", "2", "3", "5", "15", "-1", "-5", "7", "100", "'5'", "'05'", "' 5'", "'5 '", "'5x'",
        "'-5'", "'5.0'", "'5e0'", "'\t5'",
    "5.0", "5.00", "5.", "-5.0", ".0", "0.0", "5e0", "0.5e1", "1.5e1", "1e30", "0x05",
        "0x0000000000000005",
    "x'35'", "x'05'", "b'101'", "true", "false", "null", "127", "128", "-128", "255", "256",
        "2147483648", "-2147483649",
    "4294967295", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
        "18446744073709551615", "2+3", "-(-5)",
    "abs(-5)", "cast('5' as signed)", "date'2020-01-01'", "20200101", "''", "' '", "'abc'", "+5",
        "- 5", "'5' + 0", "(5)", "_binary'5'",
    "-0", "'-0'", "'+5'", "5 div 1", "5 = 5", "not 0", "!0", "~0", "1 and 1",
        "'9223372036854775808'", "default(v)",
];
#[rustfmt::skip]
const DECIMALS: &[&str] = &[
    "0", "1", "1.0", "1.00", "1.5", "'1.5'", "1.50", "1.500", "-1.5", "-0", "-0.00", "'0'", "1e0",
        "15e-1",
    "1.5e0", "null", "99999999.99", "100000000", "'1.5 '", "'1.5x'", "true", "x'31'", "0x01",
        "'1'", "01.5", "1 + 0.5", "'1e0'", "-1.50",
];
#[rustfmt::skip]
const FLOATS: &[&str] = &[
    "0", "1", "1.0", "1.5", "'1.5'", "1.50", "0.1", "'0.1'", "1e-1", "0.30000000000000004", "0.3",
        "-1.5", "-0", "-0e0", "'-0'", "1e308",
    "1e309", "null", "15e-1", "'1.5x'", "true", "0x01", "9007199254740993", "9007199254740992",
        "1e0", "-1e-10", "0.1 + 0.2",
];
#[rustfmt::skip]
const TEXTS: &[&str] = &[
    "'abc'", "'ABC'", "'Abc'", "'abc '", "'abc   '", "' abc'", "''", "' '", "'ä'", "'a'", "'A'",
        "'Ä'", "'á'", "'â '", "5", "'5'", "'5.0'",
    "5.0", "'05'", "5e0", "1e1", "'10'", "0x616263", "x'414243'", "_utf8mb4'abc'", "_latin1'abc'",
        "_binary'abc'", "n'abc'",
    "null", "'abcdefghijk'", "'abcdefghij   '", "'abc' collate utf8mb4_bin", "concat('a','bc')",
        "binary 'abc'", "'a%'", "true",
    "date'2020-01-01'", "'2020-01-01'", "'5abc'", "'ab' 'c'", "\"abc\"", "upper('abc')",
        "'a\\'b'", "'a''b'", "'\\a'", "'\\%'", "'a_'",
];
#[rustfmt::skip]
const BYTES: &[&str] = &[
    "'abc'", "'ABC'", "'abc '", "x'616263'", "0x616263", "x'61626300'", "'abc\\0'", "''", "5",
        "'5'", "null", "_binary'abc'", "_latin1'abc'",
    "cast('abc' as binary)", "'a'", "x'00'", "x''", "1.0", "1.50", "'1.5'", "1.5", "true",
        "'abcd'", "'abcde'", "'ä'", "b'1100001'", "-5",
];
// Without what is no date at all: in an IN it is 0000-00-00 or nothing, as the plan goes.
#[rustfmt::skip]
const DATES: &[&str] = &[
    "'2024-02-29'", "'2024-2-29'", "20240229", "'20240229'", "date'2024-02-29'",
        "'2024-02-29 00:00:00'", "'2024-02-29 10:00:00'",
    "timestamp'2024-02-29 00:00:00'", "timestamp'2024-02-29 10:00:00'", "'24-02-29'", "null",
        "'2024/02/29'", "'0000-00-00'", "'1000-01-01'",
    "'9999-12-31'", "0", "20240229.0", "240229", "'2024-02-29 '", "' 2024-02-29'",
        "'2024-02-29 23:59:59.9999999'", "20240229100000", "'2024-02-29T10:00:00'",
            "'2024-02-29 10:00:00.0'",
];

const fn kind(
    table: &'static str,
    column: &'static str,
    vindex: &'static str,
    values: &'static [&'static str],
) -> Kind {
    Kind { table, column, vindex, values }
}

/// Texts by collations that the vindex does not follow are left out: as in Vitess, equal is there
/// what has equal bytes.
pub const KINDS: &[Kind] = &[
    kind("r_big", "bigint", "hash", INTEGERS),
    kind("r_ubig", "bigint unsigned", "hash", INTEGERS),
    kind("r_int", "int", "xxhash", INTEGERS),
    kind("r_uint", "int unsigned", "reverse_bits", INTEGERS),
    kind("r_tiny", "tinyint", "binary_md5", INTEGERS),
    kind("r_numeric", "bigint", "numeric", INTEGERS),
    kind("r_decimal", "decimal(10,2)", "xxhash", DECIMALS),
    kind("r_double", "double", "xxhash", FLOATS),
    kind("r_float", "float", "binary_md5", FLOATS),
    kind("r_text", "varchar(30)", "unicode_loose_xxhash", TEXTS),
    kind("r_char", "char(10)", "unicode_loose_md5", TEXTS),
    kind("r_bytes", "varbinary(30)", "binary_md5", BYTES),
    kind("r_fixed", "binary(4)", "xxhash", BYTES),
    kind("r_blob", "blob", "binary", BYTES),
    kind("r_date", "date", "xxhash", DATES),
    kind("r_datetime", "datetime", "xxhash", DATES),
    kind("r_micro", "datetime(3)", "binary_md5", DATES),
];
