//! `coregate local`: the servers too.
use crate::Failure;
use crate::cli::{Flavor, LocalArgs};
use crate::config::File;
use crate::vttest::Environment;
use crate::{logging, serve};
use coregate_controlplane::local::{self, LocalConfig};
use coregate_controlplane::{Source, users};
use coregate_planner::control::Users;

pub(crate) fn run(mut args: LocalArgs) -> Result<(), Failure> {
    let mut environment = Environment::of_process().map_err(Failure::Usage)?;
    environment.complete(&mut args);
    let not_yet = |what: String| Err(Failure::Usage(what));
    let flavor = match args.flavor {
        None => None,
        Some(Flavor::Mariadb) => Some(local::Flavor::MariaDb),
        Some(Flavor::Mysql) => Some(local::Flavor::MySql),
        Some(Flavor::Galera) => Some(local::Flavor::Galera),
    };
    let etcd = match args.topo.as_str() {
        "file" => None,
        url => {
            let known = coregate_controlplane::EtcdConfig::parse(url);
            Some(known.map_err(|why| Failure::Usage(format!("--topo: {why}, or file")))?)
        }
    };
    if let Some((i, twice)) = args
        .keyspaces
        .iter()
        .enumerate()
        .find(|(i, k)| args.keyspaces[..*i].iter().any(|o| o.name == k.name))
    {
        return not_yet(format!(
            "--keyspace {}: it is given twice, the second time as number {}",
            twice.name,
            i + 1
        ));
    }
    let mut file = File { self_signed: true, ..File::default() };
    // The servers are ours: what dies is replaced and repaired.
    file.failover.enabled = true;
    // The users of `local` are fixed, unless a file says otherwise.
    serve::overrule(&mut file, args.common)?;
    file.server.server_version = environment.server_version.take();
    logging::init(file.log.format)?;
    if !environment.used.is_empty() {
        tracing::info!("taken from the environment: {}", environment.used.join(", "));
    }
    if environment.foreign_key_mode.as_deref() == Some("disallow") {
        tracing::warn!(
            "FOREIGN_KEY_MODE=disallow: foreign keys are not refused, the servers keep them within \
                a shard"
        );
    }
    let config = LocalConfig {
        dir: args.dir,
        keyspaces: args.keyspaces,
        schema: args.schema,
        vschema: args.vschema,
        flavor,
        mysqld: args.mysqld,
        etcd,
        charset: environment.charset,
        foreign_key_mode: environment.foreign_key_mode,
    };
    // Who names users wants no others.
    let users = match file.users.file {
        Some(_) => Users::default(),
        None => users::local(),
    };
    serve::start(file, Source::Local(config), users)
}
