//! `coregate tune`: what it prints can be used as it stands.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::{Coregate, MariaDb, coregate::binary, guard};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Output};

fn tune(args: &[&str]) -> Output {
    Command::new(binary())
        .arg("tune")
        .args(args)
        .output()
        .unwrap()
}

fn printed(args: &[&str]) -> String {
    let out = tune(args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn file(root: &Path, path: &str, text: &str) {
    let path = root.join(path.trim_start_matches('/'));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn this_machine_can_run_it_and_one_without_io_uring_cannot() {
    let found: Value = serde_json::from_str(&printed(&["check", "--json"])).unwrap();
    let findings = found["findings"].as_array().unwrap();
    assert!(findings.len() >= 6 && found["features"].is_string(), "{found}");
    for finding in findings {
        let told = ["name", "state", "text"].map(|key| finding[key].as_str().unwrap().is_empty());
        assert_eq!(told, [false; 3], "{finding}");
    }
    let root = guard::dir().join("no-rings");
    file(&root, "/proc/sys/kernel/osrelease", "6.18.0");
    file(&root, "/proc/sys/kernel/io_uring_disabled", "2");
    let out = tune(&["check", "--json", "--root", root.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(found["state"], "fail", "{found}");
    // What only costs something fails where that is wanted.
    file(&root, "/proc/sys/kernel/io_uring_disabled", "0");
    file(&root, "/proc/sys/kernel/osrelease", "6.1.0");
    let root = root.to_str().unwrap();
    assert_eq!(tune(&["check", "--root", root]).status.code(), Some(0));
    assert_eq!(tune(&["check", "--strict", "--root", root]).status.code(), Some(1));
}

#[test]
fn a_layout_is_applied_and_served_with() {
    let server = MariaDb::start("layout", &[]);
    let config = guard::dir().join("layout.toml");
    std::fs::write(&config, "# mine\n[server]\nbacklog = 100\n[cores]\ncpus = [0]\n").unwrap();
    let path = config.to_str().unwrap();
    let said = printed(&["layout", "--apply", path]);
    assert!(said.contains("[cores]\ncount = ") && said.contains("written to"), "{said}");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.starts_with("# mine\n[server]\nbacklog = 100\n[cores]\ncount = "), "{text}");
    let found: Value = serde_json::from_str(&printed(&["layout", "--json"])).unwrap();
    let count = found["cores"]["count"].as_u64().unwrap();
    let proxy = Coregate::drop_in("layout-proxy", &server, &["--config", path]);
    let metrics = proxy.admin("/metrics");
    let cores = metrics
        .lines()
        .filter(|line| line.starts_with("coregate_sessions{"))
        .count();
    assert_eq!(cores as u64, count);
    let mut conn = proxy.connect_as("sb", "sb", None);
    assert_eq!(conn.value("SELECT 1").as_deref(), Some("1"));
}

#[test]
fn systemd_takes_the_unit() {
    let unit = printed(&["unit"]).replace("/usr/local/bin/coregate", binary().to_str().unwrap());
    let path = guard::dir().join("coregate.service");
    std::fs::write(&path, &unit).unwrap();
    for line in
        ["LimitNOFILE=", "RestartPreventExitStatus=2", "NoNewPrivileges=true", "io_uring_setup"]
    {
        assert!(unit.contains(line), "{line}");
    }
    let verify = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&path)
        .output();
    let Ok(out) = verify else { return eprintln!("systemd-analyze is not installed") };
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    // Other units of the machine may be mentioned.
    assert!(!said.lines().any(|line| line.contains("coregate.service")), "{said}");
}

#[test]
fn the_service_manager_is_told_when_clients_can_connect() {
    let server = MariaDb::start("notify", &[]);
    let path = guard::dir().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut command = Command::new(binary());
    command.env("NOTIFY_SOCKET", &path);
    command.args([
        "serve",
        "--upstream",
        &server.url(),
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]);
    let proxy = Coregate::run("notify-proxy", &mut command).unwrap();
    let mut said = [0; 200];
    socket
        .set_read_timeout(Some(std::time::Duration::from_secs(60)))
        .unwrap();
    let len = socket.recv(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said[..len]).into_owned();
    assert_eq!(said, format!("READY=1\nMAINPID={}\n", proxy.process.id()));
}

/// Documents of a manifest.
fn documents(text: &str) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

/// Keys of an object are among those that Kubernetes knows there.
fn only(value: &Value, place: &str, known: &[&str]) {
    for key in value
        .as_object()
        .unwrap_or_else(|| panic!("{place} is no object"))
        .keys()
    {
        assert!(known.contains(&key.as_str()), "{place} has {key:?}");
    }
}

fn check_container(container: &Value, place: &str) {
    let known = [
        "name",
        "image",
        "args",
        "restartPolicy",
        "securityContext",
        "resources",
        "startupProbe",
        "ports",
    ];
    let more = ["readinessProbe", "livenessProbe", "lifecycle", "volumeMounts"];
    only(container, place, &[&known[..], &more].concat());
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let Some(probe) = container.get(probe) else { continue };
        only(probe, place, &["exec", "periodSeconds", "timeoutSeconds", "failureThreshold"]);
        only(&probe["exec"], place, &["command"]);
    }
    if container["name"] != "coregate" {
        return;
    }
    let security = &container["securityContext"];
    assert_eq!(
        (&security["runAsNonRoot"], &security["allowPrivilegeEscalation"]),
        (&true.into(), &false.into())
    );
    assert_eq!(security["seccompProfile"]["type"], "Localhost");
    assert_eq!(container["resources"]["requests"], container["resources"]["limits"]);
    assert!(container["readinessProbe"].is_object() && container["livenessProbe"].is_object());
}

fn check_pod(spec: &Value, place: &str) {
    let known = [
        "terminationGracePeriodSeconds",
        "initContainers",
        "containers",
        "volumes",
        "securityContext",
    ];
    only(spec, place, &[&known[..], &["topologySpreadConstraints"]].concat());
    // Longer than the drain, which takes 30 s by default.
    assert!(spec["terminationGracePeriodSeconds"].as_u64().unwrap() > 30);
    let volumes: BTreeSet<&str> = spec["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["name"].as_str().unwrap())
        .collect();
    let each = ["initContainers", "containers"]
        .map(|key| spec[key].as_array().cloned().unwrap_or_default());
    let containers: Vec<Value> = each.concat();
    assert!(containers.iter().any(|c| c["name"] == "coregate"));
    for container in &containers {
        check_container(container, place);
        for mount in container["volumeMounts"].as_array().unwrap() {
            only(mount, place, &["name", "mountPath", "readOnly"]);
            assert!(
                volumes.contains(mount["name"].as_str().unwrap()),
                "{mount}: there is no such volume"
            );
        }
    }
}

#[test]
fn manifests_are_what_kubernetes_knows() {
    let mut kinds = Vec::new();
    for kind in ["sidecar", "deployment"] {
        for document in documents(&printed(&["manifest", kind])) {
            only(&document, kind, &["apiVersion", "kind", "metadata", "spec"]);
            only(&document["metadata"], kind, &["name", "labels"]);
            let (name, spec) = (document["kind"].as_str().unwrap().to_owned(), &document["spec"]);
            match name.as_str() {
                "Pod" => check_pod(spec, &name),
                "Deployment" => {
                    only(spec, &name, &["replicas", "selector", "strategy", "template"]);
                    let labels = &spec["template"]["metadata"]["labels"];
                    assert_eq!(&spec["selector"]["matchLabels"], labels);
                    check_pod(&spec["template"]["spec"], &name);
                }
                "Service" => only(spec, &name, &["selector", "ports"]),
                "PodDisruptionBudget" => only(spec, &name, &["maxUnavailable", "selector"]),
                other => panic!("{other}"),
            }
            kinds.push(name);
        }
    }
    assert_eq!(kinds, ["Pod", "Deployment", "Service", "PodDisruptionBudget"]);
}

#[test]
fn the_probes_of_the_manifests_answer() {
    let server = MariaDb::start("probed", &[]);
    let proxy = Coregate::drop_in("probed-proxy", &server, &["--cores", "1"]);
    for kind in ["sidecar", "deployment"] {
        let text = printed(&["manifest", kind]);
        let command = text
            .lines()
            .find_map(|line| {
                line.split_once("command: [\"coregate\", ")?
                    .1
                    .split_once("] }")
            })
            .unwrap()
            .0
            .replace("127.0.0.1:3380", &proxy.admin.to_string());
        let args: Vec<String> = serde_json::from_str(&format!("[{command}]")).unwrap();
        let out = Command::new(binary()).args(args).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn the_seccomp_profile_allows_what_is_called() {
    let profile: Value = serde_json::from_str(&printed(&["seccomp"])).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let names: BTreeSet<&str> = profile["syscalls"][0]["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_str().unwrap())
        .collect();
    for needed in ["io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert!(names.contains(needed), "{needed}");
    }
    for never in
        ["mount", "ptrace", "bpf", "kexec_load", "init_module", "setns", "unshare", "reboot"]
    {
        assert!(!names.contains(never), "{never}");
    }
    // Everything that a run really calls.
    let log = guard::dir().join("calls");
    let server = MariaDb::start("traced", &[]);
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-e", "signal=none", "-o"])
        .arg(&log)
        .arg(binary());
    command.args([
        "serve",
        "--upstream",
        &server.url(),
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]);
    if Command::new("strace").arg("-V").output().is_err() {
        return eprintln!("strace is not installed");
    }
    let Ok(mut proxy) = Coregate::run("traced-proxy", &mut command) else {
        return eprintln!("strace may not trace here");
    };
    let mut conn = proxy.connect_as("sb", "sb", None);
    assert_eq!(conn.value("SELECT 1").as_deref(), Some("1"));
    proxy.admin("/metrics");
    drop(conn);
    // strace itself is deaf to signals.
    let strace = proxy.process.id();
    let children =
        std::fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap();
    let traced = rustix::process::Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(traced, rustix::process::Signal::TERM).unwrap();
    assert!(
        proxy
            .process
            .wait(std::time::Duration::from_secs(60))
            .is_some()
    );
    let text = std::fs::read_to_string(&log).unwrap();
    let called: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .map(|(name, _)| name)
        .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
        .collect();
    assert!(called.len() > 20, "{called:?}");
    let missing: Vec<_> = called.difference(&names).collect();
    assert!(missing.is_empty(), "not in the profile: {missing:?}");
}
