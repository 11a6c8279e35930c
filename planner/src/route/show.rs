//! SHOW: answered from the snapshot, or by a server that knows.
use super::names::Place;
use super::{Planner, session_plan};
use crate::error::PlanError;
use crate::plan::{
    Action, Combine, Destination, Effects, LocalRows, Piece, Plan, SessionAction, StatementClass,
    Target, WarningsKind,
};
use crate::serving::TabletState;
use crate::snapshot::{Keyspace, KeyspaceIdx, TableKind, Tablet, TabletKind};
use crate::sql::ast::{Show, ShowKind, TableName};

fn rows(columns: &[&str], rows: Vec<Vec<Option<String>>>) -> Plan {
    let columns = columns.iter().map(|c| (*c).to_owned()).collect();
    Plan {
        action: Action::Rows(LocalRows { columns, rows }),
        class: StatementClass::Show,
        effects: Effects::empty(),
        cacheable: false,
        names: Vec::new(),
        tables: Vec::new(),
        directives: Default::default(),
    }
}

/// MySQL's LIKE over names: `%`, `_` and `\`, whatever the case.
pub(super) fn like(pattern: &[u8], text: &[u8]) -> bool {
    // The place after the last `%`, and where in the text it was tried.
    let (mut p, mut t, mut again) = (0, 0, None);
    while t < text.len() {
        let fits = match pattern.get(p) {
            Some(b'%') => {
                again = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(b'_') => Some(1),
            Some(b'\\')
                if pattern
                    .get(p + 1)
                    .zip(text.get(t))
                    .is_some_and(|(a, b)| a.eq_ignore_ascii_case(b)) =>
            {
                Some(2)
            }
            Some(a) if text.get(t).is_some_and(|b| a.eq_ignore_ascii_case(b)) => Some(1),
            _ => None,
        };
        match (fits, again) {
            (Some(len), _) => {
                p += len;
                t += 1;
            }
            (None, Some((after, from))) => {
                again = Some((after, from + 1));
                p = after;
                t = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern
        .get(p..)
        .unwrap_or_default()
        .iter()
        .all(|&b| b == b'%')
}

fn kind_name(kind: TabletKind) -> &'static str {
    match kind {
        TabletKind::Primary => "PRIMARY",
        TabletKind::Replica => "REPLICA",
        TabletKind::Rdonly => "RDONLY",
    }
}

impl<'a> Planner<'_, 'a> {
    fn show_shards(&self, fits: &dyn Fn(&str) -> bool) -> Plan {
        let all = self.input.snapshot.keyspaces.iter().flat_map(|keyspace| {
            let of = |shard: &crate::snapshot::Shard| format!("{}/{}", keyspace.name, shard.name);
            keyspace.shards.iter().map(of).collect::<Vec<_>>()
        });
        let names = all.filter(|name| fits(name));
        rows(&["Shards"], names.map(|name| vec![Some(name)]).collect())
    }

    pub(super) fn show(&mut self, show: &'a Show<'a>) -> Result<Plan, PlanError> {
        let snapshot = self.input.snapshot;
        let fits = |name: &str| {
            show.like
                .is_none_or(|l| like(l.as_bytes(), name.as_bytes()))
        };
        let warnings = |kind, count_only| {
            let action = SessionAction::ShowWarnings {
                kind,
                count_only,
                offset: show.offset,
                limit: show.limit,
            };
            Ok(session_plan(action, StatementClass::Show))
        };
        match show.kind {
            ShowKind::Warnings => warnings(WarningsKind::Warnings, false),
            ShowKind::Errors => warnings(WarningsKind::Errors, false),
            ShowKind::CountWarnings => warnings(WarningsKind::Warnings, true),
            ShowKind::CountErrors => warnings(WarningsKind::Errors, true),
            ShowKind::Processlist | ShowKind::FullProcesslist => {
                let action =
                    SessionAction::ShowProcesslist { full: show.kind == ShowKind::FullProcesslist };
                Ok(session_plan(action, StatementClass::Show))
            }
            ShowKind::Grants | ShowKind::Databases if self.is_drop_in() => self.show_server(show),
            ShowKind::Grants => Ok(session_plan(SessionAction::ShowGrants, StatementClass::Show)),
            ShowKind::Unresolved => self.show_transactions(None, show.name),
            ShowKind::TransactionStatus => self.show_transactions(show.name, None),
            ShowKind::Databases => {
                let mut names: Vec<&str> =
                    snapshot.keyspaces.iter().map(|k| k.name.as_str()).collect();
                names.extend(["information_schema", "mysql", "performance_schema", "sys"]);
                names.sort_unstable();
                Ok(rows(
                    &["Database"],
                    names
                        .into_iter()
                        .filter(|n| fits(n))
                        .map(|n| vec![Some(n.to_owned())])
                        .collect(),
                ))
            }
            ShowKind::Shards => Ok(self.show_shards(&fits)),
            ShowKind::Tablets => Ok(self.show_tablets(&fits)),
            ShowKind::Target => {
                let session = self.input.session;
                let keyspace = session.keyspace.and_then(|k| self.keyspace(k));
                let shard = session
                    .shard
                    .zip(keyspace)
                    .and_then(|(s, k)| k.shards.get(usize::from(s)));
                let shard = shard.map(|s| format!(":{}", s.name)).unwrap_or_default();
                let name = keyspace.map_or("", |k| k.name.as_str());
                let kind = kind_name(session.tablet_kind).to_ascii_lowercase();
                Ok(rows(&["Target"], vec![vec![Some(format!("{name}{shard}@{kind}"))]]))
            }
            ShowKind::VschemaKeyspaces => {
                let all = snapshot.keyspaces.iter().map(|k| {
                    vec![
                        Some(k.name.clone()),
                        Some(k.sharded.to_string()),
                        Some(
                            if k.manages_foreign_keys { "managed" } else { "unmanaged" }.to_owned(),
                        ),
                        Some(String::new()),
                    ]
                });
                Ok(rows(&["Keyspace", "Sharded", "Foreign Key", "Comment"], all.collect()))
            }
            ShowKind::VschemaTables => self.show_vschema_tables(&fits),
            ShowKind::VschemaVindexes => self.show_vindexes(show.table),
            ShowKind::Schema | ShowKind::Server | ShowKind::Absent(_) => self.show_server(show),
        }
    }

    fn show_vschema_tables(&self, fits: &dyn Fn(&str) -> bool) -> Result<Plan, PlanError> {
        let keyspace = self.shown_keyspace()?;
        let mut names: Vec<&String> = keyspace
            .tables
            .iter()
            .filter(|(_, t)| t.in_vschema || !keyspace.sharded)
            .map(|(n, _)| n)
            .collect();
        names.sort_unstable();
        Ok(rows(
            &["Tables"],
            names
                .into_iter()
                .filter(|n| fits(n))
                .map(|n| vec![Some(n.clone())])
                .collect(),
        ))
    }

    fn show_transactions(
        &self,
        id: Option<&str>,
        keyspace: Option<&str>,
    ) -> Result<Plan, PlanError> {
        if let Some(name) = keyspace {
            self.keyspace_named(name)?;
        }
        let action = SessionAction::ShowTransactions {
            id: id.map(str::to_owned),
            keyspace: keyspace.map(str::to_owned),
        };
        Ok(session_plan(action, StatementClass::Show))
    }

    fn shown_keyspace(&self) -> Result<&'a Keyspace, PlanError> {
        self.input
            .session
            .keyspace
            .and_then(|k| self.keyspace(k))
            .ok_or(PlanError::NoDatabase)
    }

    /// Keyspaces in their order, and what of them serves at the moment.
    fn show_tablets(&self, fits: &dyn Fn(&str) -> bool) -> Plan {
        let mut all = Vec::new();
        let shards = self.input.snapshot.keyspaces.iter().flat_map(|k| &k.shards);
        let serving = self.input.serving;
        for shard in shards.filter_map(|shard| serving?.shards.get(&shard.id)) {
            for tablet in &shard.tablets {
                let Tablet { alias, address, .. } = &*tablet.tablet;
                if !fits(&shard.keyspace) && !fits(alias) {
                    continue;
                }
                let cell = alias.rsplit_once('-').map_or("", |(cell, _)| cell);
                let state = match tablet.state {
                    TabletState::Serving => "SERVING",
                    TabletState::NotServing => "NOT_SERVING",
                };
                let since = tablet.primary_since.as_deref().unwrap_or_default();
                let host = address.to_string();
                let cells = [
                    cell,
                    &shard.keyspace,
                    &shard.shard,
                    tablet.type_name,
                    state,
                    alias,
                    &host,
                    since,
                ];
                all.push(cells.map(|c| Some(c.to_owned())).to_vec());
            }
        }
        let columns = [
            "Cell",
            "Keyspace",
            "Shard",
            "TabletType",
            "State",
            "Alias",
            "Hostname",
            "PrimaryTermStartTime",
        ];
        rows(&columns, all)
    }

    fn show_vindexes(&self, table: Option<&TableName<'_>>) -> Result<Plan, PlanError> {
        if let Some(name) = table {
            let Place::Table { keyspace, table } = self.locate(name)? else {
                return Err(PlanError::UnknownTable(name.name.to_owned()));
            };
            let owner = self.keyspace(keyspace).map_or("", |k| k.name.as_str());
            let table =
                table.ok_or_else(|| PlanError::UnknownTable(format!("{owner}.{}", name.name)))?;
            let all = table.column_vindexes.iter().map(|v| {
                let params = String::new();
                [
                    v.columns.join(", "),
                    v.vindex.name.clone(),
                    v.vindex.kind.clone(),
                    params,
                    v.vindex.owner.clone().unwrap_or_default(),
                ]
                .into_iter()
                .map(Some)
                .collect()
            });
            return Ok(rows(&["Columns", "Name", "Type", "Params", "Owner"], all.collect()));
        }
        let mut all: Vec<Vec<Option<String>>> = Vec::new();
        for keyspace in &self.input.snapshot.keyspaces {
            for v in keyspace.vindexes.values() {
                let cells = [
                    keyspace.name.clone(),
                    v.name.clone(),
                    v.kind.clone(),
                    String::new(),
                    v.owner.clone().unwrap_or_default(),
                ];
                all.push(cells.into_iter().map(Some).collect());
            }
        }
        all.sort();
        Ok(rows(&["Keyspace", "Name", "Type", "Params", "Owner"], all))
    }

    /// A server answers: one shard of the keyspace that is asked about.
    fn show_server(&mut self, show: &'a Show<'a>) -> Result<Plan, PlanError> {
        if let ShowKind::Absent(instead) = show.kind
            && !self.is_drop_in()
        {
            return Err(PlanError::unsupported(format!(
                "this SHOW statement of Vitess's: {instead}"
            )));
        }
        let class = StatementClass::Show;
        self.cacheable = false;
        if self.is_drop_in() {
            return Ok(self.routed_to(Target::DropIn, Combine::Concat, class));
        }
        let keyspace = self.show_keyspace(show)?;
        let shards = match self.input.session.shard {
            Some(shard) if self.input.session.keyspace == Some(keyspace) => {
                Destination::Shard(shard)
            }
            _ if self.is_whole(keyspace) => Destination::Unsharded,
            _ if show.status && self.is_of_keyspace(show) => {
                return Ok(self.route(keyspace, self.everywhere(keyspace), Combine::Status, class));
            }
            _ if show.keys && self.is_of_keyspace(show) && self.is_spread(show) => {
                return Ok(self.route(keyspace, Destination::Scatter, Combine::Keys, class));
            }
            _ => Destination::Any,
        };
        Ok(self.route(keyspace, shards, Combine::Concat, class))
    }

    /// Does it ask about a keyspace, and not about a system schema?
    fn is_of_keyspace(&self, show: &Show<'_>) -> bool {
        match show.database {
            Some((name, _)) => !super::names::is_system(name),
            None => self.system_database().is_none(),
        }
    }

    /// Do a table's rows lie on several shards?
    fn is_spread(&self, show: &Show<'_>) -> bool {
        let table = show.table.map(|name| self.locate(name));
        matches!(table, Some(Ok(Place::Table { table: Some(table), .. }))
            if table.kind == TableKind::Normal && table.pinned.is_none())
    }

    /// Names the database of a SHOW that has none.
    fn show_from(&mut self, quoted: &str) {
        let words: [&[u8]; 4] = [b"tables", b"status", b"triggers", b"events"];
        let text = |i: &crate::sql::input::Item| {
            let span = i.span.start as usize..i.span.end as usize;
            self.input.sql.get(span).unwrap_or_default()
        };
        let last = self
            .tokens
            .items
            .iter()
            .find(|i| words.iter().any(|w| text(i).eq_ignore_ascii_case(w)));
        if let Some(item) = last {
            let text = format!(" FROM {quoted}").into_bytes();
            self.edits
                .insert(item.span.end, vec![Piece::Verbatim(text)]);
        }
    }

    fn show_keyspace(&mut self, show: &'a Show<'a>) -> Result<KeyspaceIdx, PlanError> {
        let session = self.input.session.keyspace;
        let fallback = || {
            session
                .or_else(|| (!self.input.snapshot.keyspaces.is_empty()).then_some(0))
                .ok_or(PlanError::NoDatabase)
        };
        if matches!(show.kind, ShowKind::Server | ShowKind::Absent(_)) {
            return fallback();
        }
        if let Some(quoted) = self.system_database()
            && show.kind == ShowKind::Schema
            && show.database.is_none()
        {
            match show.table {
                Some(table) => self.qualify(table),
                None => self.show_from(&quoted),
            }
        }
        if let Some((name, span)) = show.database {
            if super::names::is_system(name) {
                return fallback();
            }
            let index = self.keyspace_named(name)?;
            if let Some(keyspace) = self.keyspace(index).filter(|k| k.database != k.name) {
                let quoted = format!("`{}`", keyspace.database.replace('`', "``"));
                self.edits
                    .replace(span, vec![Piece::Verbatim(quoted.into_bytes())]);
            }
            return Ok(index);
        }
        match show.table {
            Some(table) => match self.locate(table)? {
                Place::Table { keyspace, table: known } => {
                    let sharded = !self.is_whole(keyspace);
                    if known.is_some_and(|t| t.kind == TableKind::Sequence) && sharded {
                        return Err(PlanError::UnknownTable(table.name.to_owned()));
                    }
                    if let Some((k, span)) = self.keyspace(keyspace).zip(table.database_span)
                        && k.database != k.name
                    {
                        let quoted = format!("`{}`.", k.database.replace('`', "``"));
                        self.edits
                            .replace(span, vec![Piece::Verbatim(quoted.into_bytes())]);
                    }
                    Ok(keyspace)
                }
                Place::System => fallback(),
            },
            None if session.is_none() && self.system_database().is_some() => fallback(),
            None if session.is_none() && self.input.snapshot.keyspaces.len() != 1 => {
                Err(PlanError::NoDatabase)
            }
            None => fallback(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("%", "", true),
            ("a%", "Abc", true),
            ("%b_", "abc", true),
            ("a\\_c", "a_c", true),
            ("a\\_c", "abc", false),
            ("abc", "abcd", false),
            ("%c%d", "abcxd", true),
        ] {
            assert_eq!(like(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }
}
