//! Functions that servers have themselves, and those among them that give the same value for the
//! same arguments, wherever and whenever they are called in a session.

/// The latter. Sorted.
#[rustfmt::skip]
const SURE: &[&str] = &[
    "abs", "acos", "adddate", "addtime", "ascii", "asin", "atan", "atan2", "bin", "bin_to_uuid",
        "bit_count",
    "bit_length", "cast", "ceil", "ceiling", "char", "char_length", "character_length",
        "coalesce", "concat",
    "concat_ws", "conv", "convert", "cos", "cot", "crc32", "date", "date_add", "date_format",
        "date_sub",
    "datediff", "day", "dayname", "dayofmonth", "dayofweek", "dayofyear", "degrees", "elt", "exp",
        "extract",
    "field", "find_in_set", "floor", "format", "from_days", "from_unixtime", "greatest", "hex",
        "hour", "if",
    "ifnull", "inet6_aton", "inet6_ntoa", "inet_aton", "inet_ntoa", "insert", "instr", "interval",
        "isnull",
    "json_contains", "json_contains_path", "json_extract", "json_keys", "json_length",
        "json_overlaps",
    "json_quote", "json_search", "json_type", "json_unquote", "json_valid", "json_value",
        "last_day", "lcase",
    "least", "left", "length", "ln", "locate", "log", "log10", "log2", "lower", "lpad", "ltrim",
        "makedate",
    "maketime", "md5", "microsecond", "mid", "minute", "mod", "month", "monthname", "nullif", "oct",
    "octet_length", "ord", "period_add", "period_diff", "pi", "position", "pow", "power",
        "quarter", "quote",
    "radians", "regexp_instr", "regexp_like", "regexp_replace", "regexp_substr", "repeat",
        "replace",
    "reverse", "right", "round", "rpad", "rtrim", "sec_to_time", "second", "sha", "sha1", "sha2",
        "sign",
    "sin", "soundex", "space", "sqrt", "str_to_date", "strcmp", "subdate", "substr", "substring",
    "substring_index", "subtime", "tan", "time", "time_format", "time_to_sec", "timediff",
        "timestamp",
    "timestampadd", "timestampdiff", "to_days", "to_seconds", "trim", "truncate", "ucase",
        "unhex", "upper",
    "uuid_to_bin", "week", "weekday", "weekofyear", "year", "yearweek",
];

/// Servers' own functions beside those. Sorted.
#[rustfmt::skip]
const OTHERS: &[&str] = &[
    "add_months", "aes_decrypt", "aes_encrypt", "any_value", "area", "asbinary", "astext",
        "aswkb", "aswkt",
    "avg", "benchmark", "binlog_gtid_pos", "bit_and", "bit_or", "bit_xor", "boundary", "buffer",
        "centroid",
    "charset", "chr", "coercibility", "collation", "column_add", "column_check", "column_create",
    "column_delete", "column_exists", "column_get", "column_json", "column_list", "compress",
        "connection_id",
    "contains", "convert_tz", "convexhull", "count", "crc32c", "crosses", "cube", "cume_dist",
        "curdate",
    "current_date", "current_role", "current_time", "current_timestamp", "current_user", "curtime",
    "database", "decode", "decode_histogram", "default", "dense_rank", "des_decrypt", "des_encrypt",
    "dimension", "disjoint", "distance", "encode", "encrypt", "endpoint", "envelope", "equals",
        "export_set",
    "exteriorring", "extractvalue", "first_value", "format_bytes", "format_pico_time", "found_rows",
    "from_base64", "from_vector", "geomcollfromtext", "geomcollfromwkb", "geometrycollection",
    "geometrycollectionfromtext", "geometryfromtext", "geometryfromwkb", "geometryn",
        "geometrytype",
    "geomfromtext", "geomfromwkb", "get_format", "get_lock", "glength", "group_concat", "grouping",
    "gtid_subset", "gtid_subtract", "icu_version", "interiorringn", "intersects", "is_free_lock",
        "is_ipv4",
    "is_ipv4_compat", "is_ipv4_mapped", "is_ipv6", "is_used_lock", "is_uuid", "isclosed",
        "isempty", "isring",
    "issimple", "json_append", "json_array", "json_array_append", "json_array_insert",
        "json_array_intersect",
    "json_arrayagg", "json_compact", "json_depth", "json_detailed", "json_equals", "json_exists",
    "json_insert", "json_key_value", "json_loose", "json_merge", "json_merge_patch",
        "json_merge_preserve",
    "json_normalize", "json_object", "json_object_filter_keys", "json_object_to_array",
        "json_objectagg",
    "json_pretty", "json_query", "json_remove", "json_replace", "json_schema_valid",
    "json_schema_validation_report", "json_set", "json_storage_free", "json_storage_size",
        "json_table",
    "json_unique", "kdf", "lag", "last_insert_id", "last_value", "lastval", "lead", "lengthb",
        "linefromtext",
    "linefromwkb", "linestring", "linestringfromtext", "linestringfromwkb", "load_file",
        "localtime",
    "localtimestamp", "make_set", "master_gtid_wait", "master_pos_wait", "max", "mbrcontains",
        "mbrcoveredby",
    "mbrcovers", "mbrdisjoint", "mbrequal", "mbrequals", "mbrintersects", "mbroverlaps",
        "mbrtouches",
    "mbrwithin", "median", "min", "mlinefromtext", "months_between", "mpointfromtext",
        "mpolyfromtext",
    "multilinestring", "multilinestringfromtext", "multipoint", "multipointfromtext",
        "multipolygon",
    "multipolygonfromtext", "name_const", "natural_sort_key", "nextval", "now", "nth_value",
        "ntile",
    "numgeometries", "numinteriorrings", "numpoints", "nvl", "nvl2", "old_password", "overlaps",
        "password",
    "percent_rank", "percentile_cont", "percentile_disc", "point", "pointfromtext",
        "pointfromwkb", "pointn",
    "pointonsurface", "polyfromtext", "polyfromwkb", "polygon", "polygonfromtext",
        "ps_current_thread_id",
    "ps_thread_id", "rand", "random_bytes", "rank", "release_all_locks", "release_lock",
        "roles_graphml",
    "rollup", "row_count", "row_number", "rownum", "schema", "session_user", "setval", "sformat",
        "sha3",
    "sleep", "source_pos_wait", "srid", "st_collect", "startpoint", "statement_digest",
    "statement_digest_text", "std", "stddev", "stddev_pop", "stddev_samp", "string_to_vector",
        "sum",
    "sys_guid", "sysdate", "system_user", "to_base64", "to_char", "to_date", "to_number",
        "to_timestamp",
    "to_vector", "touches", "trunc", "uncompress", "uncompressed_length", "unix_timestamp",
        "updatexml",
    "user", "utc_date", "utc_time", "utc_timestamp", "uuid", "uuid_short", "uuid_timestamp",
        "uuid_v4",
    "uuid_v7", "validate_password_strength", "value", "values", "var_pop", "var_samp", "variance",
    "vec_distance", "vec_distance_cosine", "vec_distance_euclidean", "vec_fromtext", "vec_totext",
    "vector_dim", "vector_to_string", "version", "wait_for_executed_gtid_set", "weight_string",
        "within", "x",
    "xmltype", "y",
];

pub(in crate::route) fn is_sure(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SURE.binary_search(&name.as_str()).is_ok()
}

/// Those whose value is a number or a date, whatever they are given. Sorted.
#[rustfmt::skip]
const NUMERIC: &[&str] = &[
    "abs", "ascii", "bit_count", "bit_length", "ceil", "ceiling", "char_length",
        "character_length", "crc32", "date", "datediff", "day",
    "dayofmonth", "dayofweek", "dayofyear", "extract", "field", "find_in_set", "floor", "hour",
        "instr", "isnull", "last_day", "length",
    "locate", "microsecond", "minute", "month", "octet_length", "ord", "period_diff", "position",
        "quarter", "round", "second",
    "sign", "strcmp", "time_to_sec", "to_days", "to_seconds", "truncate", "week", "weekday",
        "weekofyear", "year",
    "yearweek",
];

/// Is its value a number or a date for certain, and the same for the same arguments?
pub(super) fn is_numeric(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    NUMERIC.binary_search(&name.as_str()).is_ok()
}

/// Is it a server's own function? What it is given is all that it reads.
pub(super) fn is_native(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    is_sure(&lower) || lower.starts_with("st_") || OTHERS.binary_search(&lower.as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_sorted() {
        assert!(super::SURE.is_sorted() && super::OTHERS.is_sorted() && super::NUMERIC.is_sorted());
        assert!(super::NUMERIC.iter().all(|n| super::is_sure(n)));
        assert!(super::is_sure("LOWER") && !super::is_sure("rand") && !super::is_sure("now"));
        assert!(
            super::is_native("Now") && super::is_native("ST_Area") && !super::is_native("my_own")
        );
    }
}
