//! Makes vindexes from their definition in a vschema.
use super::{Vindex, cfc, hash, identity, loose, multicol, numeric, region};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A vindex's `params`.
pub type Params = BTreeMap<String, String>;

/// Reads a file that a definition names (`json_path`, `region_map`), or says why not. The planner
/// itself opens no files.
pub type ReadFile<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// A definition that no vindex can be made from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The vschema names a type that Vitess does not know.
    #[error("vindexType {kind:?} not found: vindex `{vindex}` must have one of the types \
        {}", KINDS.join(", "))]
    UnknownKind {
        /// The vindex's name in the vschema.
        vindex: String,
        /// The type, as it is written there.
        kind: String,
    },
    /// A param that the type needs is not there.
    #[error("vindex `{vindex}` lacks the param `{param}`")]
    Missing {
        /// The vindex's name in the vschema.
        vindex: String,
        /// The param's name.
        param: String,
    },
    /// A param's value cannot be used.
    #[error("vindex `{vindex}`: the param `{param}` {why}")]
    Param {
        /// The vindex's name in the vschema.
        vindex: String,
        /// The param's name.
        param: String,
        /// What is wrong with the value, to be read behind the name.
        why: String,
    },
    /// `multicol` or `region_json` name a vindex that cannot stand in them.
    #[error(
        "vindex `{vindex}`: a vindex inside it must be of a unique functional type of one column, \
            not {kind:?}"
    )]
    NotHashing {
        /// The vindex's name in the vschema.
        vindex: String,
        /// The inner vindex's type.
        kind: String,
    },
}

impl CreateError {
    pub(super) fn missing(vindex: &str, param: &str) -> Self {
        Self::Missing { vindex: vindex.to_owned(), param: param.to_owned() }
    }
    pub(super) fn param(vindex: &str, param: &str, why: impl Into<String>) -> Self {
        Self::Param { vindex: vindex.to_owned(), param: param.to_owned(), why: why.into() }
    }
    pub(super) fn file(vindex: &str, param: &str, path: &str, why: &str) -> Self {
        Self::param(vindex, param, format!("names the file {path:?}, which cannot be read: {why}"))
    }
}

const FUNCTIONAL: [&str; 14] = [
    "binary",
    "binary_md5",
    "cfc",
    "hash",
    "multicol",
    "null",
    "numeric",
    "numeric_static_map",
    "region_experimental",
    "region_json",
    "reverse_bits",
    "unicode_loose_md5",
    "unicode_loose_xxhash",
    "xxhash",
];

const LOOKUP: [&str; 8] = [
    "consistent_lookup",
    "consistent_lookup_unique",
    "lookup",
    "lookup_hash",
    "lookup_hash_unique",
    "lookup_unicodeloosemd5_hash",
    "lookup_unicodeloosemd5_hash_unique",
    "lookup_unique",
];

const KINDS: [&str; 22] = {
    let mut all = [""; 22];
    let mut i = 0;
    while i < all.len() {
        all[i] = if i < FUNCTIONAL.len() { FUNCTIONAL[i] } else { LOOKUP[i - FUNCTIONAL.len()] };
        i += 1;
    }
    all
};

/// Is it one of the types that keep their mapping in a table?
pub(crate) fn is_lookup(kind: &str) -> bool {
    LOOKUP.contains(&kind)
}

/// Makes a functional vindex. `Ok(None)`: a lookup vindex, which is a table
/// ([`LookupDef`](crate::lookup::LookupDef)). Params that a type does not know are ignored, as in
/// Vitess.
pub fn create(
    name: &str,
    kind: &str,
    params: &Params,
    read: ReadFile<'_>,
) -> Result<Option<Arc<dyn Vindex>>, CreateError> {
    Ok(Some(match kind {
        "binary" => Arc::new(identity::Binary),
        "binary_md5" => Arc::new(hash::BinaryMd5),
        "cfc" => Arc::new(cfc::Cfc::new(name, params)?),
        "hash" => Arc::new(hash::Hash),
        "multicol" => Arc::new(multicol::MultiCol::new(name, params, read)?),
        "null" => Arc::new(identity::Null),
        "numeric" => Arc::new(numeric::Numeric),
        "numeric_static_map" => Arc::new(numeric::NumericStaticMap::new(name, params, read)?),
        "region_experimental" => Arc::new(region::RegionExperimental::new(name, params)?),
        "region_json" => Arc::new(region::RegionJson::new(name, params, read)?),
        "reverse_bits" => Arc::new(numeric::ReverseBits),
        "unicode_loose_md5" => Arc::new(loose::LooseMd5),
        "unicode_loose_xxhash" => Arc::new(loose::LooseXxHash),
        "xxhash" => Arc::new(hash::XxHash),
        lookup if is_lookup(lookup) => return Ok(None),
        _ => {
            return Err(CreateError::UnknownKind {
                vindex: name.to_owned(),
                kind: kind.to_owned(),
            });
        }
    }))
}

/// A vindex that another one calls for a single column's bytes (Vitess's `Hashing` interface).
pub(super) fn hashing(
    name: &str,
    kind: &str,
    params: &Params,
    read: ReadFile<'_>,
) -> Result<Arc<dyn Vindex>, CreateError> {
    let one_column = |v: &Arc<dyn Vindex>| v.max_columns() == 1 && v.kind() != "cfc";
    create(name, kind, params, read)?
        .filter(one_column)
        .ok_or_else(|| CreateError::NotHashing { vindex: name.to_owned(), kind: kind.to_owned() })
}
