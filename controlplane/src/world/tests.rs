use super::*;
use crate::topology::Kind;
use coregate_planner::collation::Collation;

const KEYSPACE: &str = r#"{"name": "NAME", "shards": [{"name": "0", "tablets": [
    {"alias": "NAME-1", "type": "primary", "host": "nowhere.invalid", "user": "u"}]}]}"#;

async fn world(dir: &std::path::Path) -> World {
    std::fs::create_dir_all(dir.join("topology")).unwrap();
    for name in ["a", "b"] {
        std::fs::write(dir.join(format!("topology/{name}.json")), KEYSPACE.replace("NAME", name))
            .unwrap();
    }
    let store = Store::new(crate::store::Files::open(dir).unwrap());
    World::from_store(store, Connector::default())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_name_gets_its_address_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path()).await;
    assert!(!world.missing().lines(&world.tablets()).is_empty());
    let address = ([127, 0, 0, 1], 3306).into();
    assert!(!world.resolved("elsewhere.invalid", 3306, address));
    assert!(world.resolved("nowhere.invalid", 3306, address));
    let tcp = |t: &Arc<Tablet>| matches!(t.address, Address::Tcp(_));
    assert!(world.tablets().iter().all(tcp));
}

#[tokio::test]
async fn what_a_server_did_not_tell_of_text_is_taken_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path()).await;
    let answers = |space: &[u8]| {
        let collation =
            Collation { name: "x_ci".into(), space: space.to_vec(), ..Collation::default() };
        let version = String::from_utf8_lossy(space).into_owned();
        Answers { version, collations: [("x_ci".to_owned(), Some(Arc::new(collation)))].into() }
    };
    let reading = || Reading { tables: Vec::new(), conn: None, certain: true, collations: None };
    for name in ["a", "b"] {
        world.take_columns(name, Ok(reading())).unwrap();
    }
    assert_eq!(world.missing().collations.len(), 2);
    assert_eq!(world.snapshot().unwrap().collation("x_ci"), None);
    assert!(world.take_collations("a", answers(b"1")));
    assert!(!world.take_collations("a", answers(b"2")), "it was no longer asked for");
    assert_eq!(world.snapshot().unwrap().collation("x_ci").unwrap().space, b"1");
    // What is known stays known, until a server tells something else.
    world.take_columns("a", Ok(reading())).unwrap();
    assert_eq!(world.snapshot().unwrap().collation("x_ci").unwrap().space, b"1");
    assert!(!world.take_collations("a", answers(b"1")), "the cores know it");
    assert!(world.take_collations("b", answers(b"2")));
    assert_eq!(world.snapshot().unwrap().collation("x_ci"), None, "the servers do not agree");
    assert!(world.missing().collations.is_empty());
}

async fn reload(world: &mut World) -> Result<bool, Error> {
    let (edits, reading) = world.reload().expect("a store");
    Ok(world.reloaded(edits, reading.await?)?.is_some())
}

/// A change, from the plan to the end.
async fn make(world: &mut World, change: Change) -> Result<(), SqlError> {
    let planned = world.plan(&change)?;
    let store = Arc::clone(world.store().expect("a store"));
    let written = store
        .put(&planned.record, planned.seen.as_ref(), None)
        .await;
    world.commit(planned, written.map_err(|e| general(e.to_string()))?);
    Ok(())
}

async fn alter(world: &mut World, sql: &str) -> Result<(), SqlError> {
    make(world, Change::Alter { sql: sql.to_owned(), session: None }).await
}

async fn set_primary(world: &mut World, alias: &str) -> Result<(), SqlError> {
    let (keyspace, shard) = ("a".to_owned(), "0".to_owned());
    make(world, Change::Primary { keyspace, shard, alias: alias.to_owned() }).await
}

#[tokio::test]
async fn what_was_read_before_an_edit_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path()).await;
    let (edits, reading) = world.reload().expect("a store");
    let loaded = reading.await.unwrap();
    alter(&mut world, "alter vschema add table a.t")
        .await
        .unwrap();
    assert!(world.reloaded(edits, loaded).unwrap().is_none());
    assert!(reload(&mut world).await.unwrap());
    assert!(world.keyspaces["a"].record.vschema.tables.contains_key("t"));
}

#[tokio::test]
async fn a_new_primary_is_durable_and_the_only_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path()).await;
    let text = KEYSPACE
        .replace("NAME", "a")
        .replace("}]}]", r#"}, {"alias": "a-2", "type": "replica", "host": "h", "user": "u"}]}]"#);
    std::fs::write(dir.path().join("topology/a.json"), text).unwrap();
    assert!(reload(&mut world).await.unwrap());
    assert!(set_primary(&mut world, "a-3").await.is_err());
    let drain = Change::Kind { alias: "a-1".to_owned(), kind: Kind::Drained };
    assert!(make(&mut world, drain).await.is_err(), "it is the primary");
    set_primary(&mut world, "a-2").await.unwrap();
    for _ in 0..2 {
        let shard = &world.keyspaces["a"].record.shards[0];
        assert_eq!(
            (shard.term, shard.tablets[0].kind, shard.tablets[1].kind),
            (1, Kind::Replica, Kind::Primary)
        );
        assert_eq!(world.keyspaces["a"].primary("0").unwrap().alias, "a-2");
        assert!(shard.primary_since.as_deref().unwrap().ends_with('Z'));
        assert!(reload(&mut world).await.unwrap());
    }
}

#[test]
fn times_are_written_as_dates() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"),
    ] {
        assert_eq!(utc(seconds), text);
    }
}

#[tokio::test]
async fn a_reload_is_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path()).await;
    let file = |name: &str| dir.path().join(format!("topology/{name}.json"));
    let edited = KEYSPACE
        .replace("NAME", "a")
        .replace("\"shards\"", "\"database\": \"other\", \"shards\"");
    std::fs::write(file("a"), &edited).unwrap();
    for wrong in [
        "{".to_owned(),
        KEYSPACE.replace("NAME", "c"),
        KEYSPACE.replace("NAME", "b").replace("b-1", "a-1"),
        KEYSPACE.replace("NAME", "b").replace(
            "\"shards\"",
            "\"vschema\": {\"sharded\": true, \"tables\": {\"t\": {}}}, \"shards\"",
        ),
    ] {
        std::fs::write(file("b"), &wrong).unwrap();
        assert!(reload(&mut world).await.is_err(), "{wrong}");
        let snapshot = world.snapshot().unwrap();
        assert!(snapshot.keyspaces.iter().all(|k| k.database == k.name), "{wrong}");
        for name in ["a", "b"] {
            let before = std::fs::read_to_string(file(name)).unwrap();
            let sql = format!("alter vschema add table {name}.t");
            let error = alter(&mut world, &sql).await.unwrap_err();
            assert!(error.message.contains("has changed since it was read"), "{}", error.message);
            assert_eq!(std::fs::read_to_string(file(name)).unwrap(), before, "an edit is lost");
        }
    }
    let rules = dir.path().join("routing_rules.json");
    std::fs::write(&rules, "[").unwrap();
    std::fs::write(file("b"), KEYSPACE.replace("NAME", "b")).unwrap();
    assert!(reload(&mut world).await.is_err());
    assert!(
        make(&mut world, Change::Rules(Default::default()))
            .await
            .is_err()
    );
    assert_eq!(world.snapshot().unwrap().keyspaces[0].database, "a");
    std::fs::remove_file(&rules).unwrap();
    reload(&mut world).await.unwrap();
    assert_eq!(world.snapshot().unwrap().keyspaces[0].database, "other");
    alter(&mut world, "alter vschema add table a.t")
        .await
        .unwrap();
    alter(&mut world, "alter vschema add table a.u")
        .await
        .unwrap();
    assert!(
        std::fs::read_to_string(file("a"))
            .unwrap()
            .contains("other")
    );
}

#[tokio::test]
async fn what_does_not_compile_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path()).await;
    let path = dir.path().join("topology/a.json");
    let before = std::fs::read_to_string(&path).unwrap();
    let wrong = vschema::Keyspace::from_json(r#"{"sharded": true, "tables": {"t": {}}}"#).unwrap();
    let wrong = Change::Vschema { keyspace: "a".to_owned(), vschema: wrong };
    assert!(make(&mut world, wrong).await.is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    let rules = r#"{"rules": [{"from_table": "t", "to_tables": ["nowhere.t"]}]}"#;
    let rules = vschema::RoutingRules::from_json(rules).unwrap();
    assert!(make(&mut world, Change::Rules(rules)).await.is_err(), "no such keyspace");
    world.snapshot().unwrap();
}

#[tokio::test]
async fn what_the_store_tells_is_taken_without_reading_tables_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = world(dir.path()).await;
    let store = Arc::clone(world.store().unwrap());
    let told = async |world: &mut World, revision: i64, change: &dyn Fn(&mut State)| {
        let mut state = store.read().await.unwrap();
        state.revision = revision;
        change(&mut state);
        let (edits, loading) = world.load(state);
        world.reloaded(edits, loading.await.unwrap()).unwrap()
    };
    let nothing = told(&mut world, 5, &|_| ()).await.unwrap();
    assert_eq!(nothing, loaded::Taken::default());
    assert_eq!(told(&mut world, 4, &|_| ()).await, None, "later news is known");
    let weight = |state: &mut State| state.keyspaces[0].0.shards[0].tablets[0].weight = Some(2);
    let taken = told(&mut world, 6, &weight).await.unwrap();
    assert!(taken.records && !taken.catalog && taken.tables.is_empty());
    let vschema = |state: &mut State| {
        weight(state);
        state.keyspaces[0].0.vschema.require_explicit_routing = true;
    };
    let taken = told(&mut world, 7, &vschema).await.unwrap();
    assert!(taken.catalog && taken.tables.is_empty());
    let schema = |state: &mut State| {
        vschema(state);
        state.schemas.insert("a".to_owned(), 8);
    };
    assert_eq!(told(&mut world, 8, &schema).await.unwrap().tables, ["a"]);
    let gone = |state: &mut State| drop(state.keyspaces.remove(0));
    let taken = told(&mut world, 9, &gone).await.unwrap();
    assert!(taken.catalog && taken.records && world.keyspaces.len() == 1);
}
