//! How what holds statements' texts is shown: as text.
use super::{Assignment, PrepareSource};

impl std::fmt::Debug for Assignment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assignment")
            .field("scope", &self.scope)
            .field("name", &self.name)
            .field("value", &self.value)
            .field("sql", &String::from_utf8_lossy(&self.sql))
            .finish()
    }
}

impl std::fmt::Debug for PrepareSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, text) = match self {
            Self::Text(text) => ("Text", String::from_utf8_lossy(text)),
            Self::Variable(name) => ("Variable", name.into()),
        };
        f.debug_tuple(name).field(&text).finish()
    }
}
