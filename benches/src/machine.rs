//! What a run was made on: without it, its figures say little.
use crate::conn::Connection;
use crate::endpoint::Named;
use crate::process::find;
use std::fs;
use std::process::Command;

/// Name and value, in order.
pub(crate) type Facts = Vec<(String, String)>;

pub(crate) fn facts(targets: &[Named]) -> Facts {
    let read = |path: &str| {
        fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map(|(_, name)| name.trim().to_owned());
    let memory = read("/proc/meminfo");
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let virtual_machine = cpuinfo
        .lines()
        .any(|line| line.starts_with("flags") && line.split(' ').any(|flag| flag == "hypervisor"));
    let mut facts = vec![
        ("coregate", env!("CARGO_PKG_VERSION").to_owned()),
        (
            "command",
            std::env::args()
                .map(|arg| hidden(&arg))
                .collect::<Vec<_>>()
                .join(" "),
        ),
        ("cpu", model.unwrap_or_else(|| std::env::consts::ARCH.to_owned())),
        (
            "cpus",
            std::thread::available_parallelism().map_or_else(|_| "?".to_owned(), |n| n.to_string()),
        ),
        ("virtual machine", if virtual_machine { "yes" } else { "no" }.to_owned()),
        ("memory", memory.unwrap_or_default().trim().to_owned()),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("governor", read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        ("load before the run", read("/proc/loadavg")),
    ];
    if let Some(version) =
        find(&["haproxy"]).and_then(|path| Command::new(path).arg("-v").output().ok())
    {
        let text = String::from_utf8_lossy(&version.stdout).into_owned();
        facts.push(("haproxy", text.lines().next().unwrap_or_default().to_owned()));
    }
    let mut facts: Facts = facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for target in targets {
        let version = Connection::open(&target.endpoint, None)
            .ok()
            .and_then(|mut conn| {
                conn.query("SELECT VERSION()").ok()?;
                let row = conn.row(1)?;
                Some(String::from_utf8_lossy(row.get(1..)?).into_owned())
            });
        let version = version.unwrap_or_else(|| "?".to_owned());
        facts.push((format!("target {}", target.name), format!("{}, {version}", target.endpoint)));
    }
    facts
}

/// An argument without the password of a URL in it.
fn hidden(arg: &str) -> String {
    let Some((before, after)) = arg.split_once("mysql://") else { return arg.to_owned() };
    let Some((who, host)) = after.rsplit_once('@') else { return arg.to_owned() };
    match who.split_once(':') {
        Some((user, _)) => format!("{before}mysql://{user}:{}@{host}", crate::settings::MASK),
        None => arg.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_written_down() {
        assert_eq!(hidden("x=mysql://u:p@h:1/d?pid=1"), "x=mysql://u:***@h:1/d?pid=1");
        assert_eq!(hidden("x=mysql://u@h"), "x=mysql://u@h");
        let facts = facts(&[]);
        assert!(
            facts
                .iter()
                .any(|(name, value)| name == "kernel" && !value.is_empty())
        );
    }
}
