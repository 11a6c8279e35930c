//! `coregate tune ...`: prints what `coregate-tuning` finds.
mod apply;

use crate::Failure;
use crate::cli::{Kind, Tune};
use coregate_dataplane::ring::Features;
use coregate_tuning::Root;
use coregate_tuning::check::{self, State};
use coregate_tuning::deploy;
use coregate_tuning::layout::Layout;
use serde_json::{Value, json};
use std::path::Path;

pub(crate) fn run(what: &Tune) -> Result<(), Failure> {
    match what {
        Tune::Check { json, strict, root } => {
            return checks(&Root::new(root), root == Path::new("/"), *json, *strict);
        }
        Tune::Layout { json, apply, root } => {
            return layout(&Layout::read(&Root::new(root)), *json, apply.as_deref());
        }
        Tune::Unit => say(deploy::UNIT)?,
        Tune::Grants { user, host, databases } => {
            say(&crate::grants::statements(user, host, databases))?;
        }
        Tune::Manifest { kind: Kind::Sidecar } => say(deploy::SIDECAR)?,
        Tune::Manifest { kind: Kind::Deployment } => say(deploy::DEPLOYMENT)?,
        Tune::Seccomp => say(deploy::SECCOMP)?,
    }
    Ok(())
}

/// Texts end with a line's end, or without.
fn say(text: &str) -> Result<(), Failure> {
    crate::ctl::say(text.trim_end_matches('\n'))
}

fn checks(root: &Root, live: bool, as_json: bool, strict: bool) -> Result<(), Failure> {
    let findings = check::run(root);
    // What stands in the way is among the findings already.
    let features = live.then(|| Features::probe().ok()).flatten();
    let worst = findings
        .iter()
        .map(|f| f.state)
        .max()
        .unwrap_or(State::Good);
    if as_json {
        let each: Vec<Value> = findings
            .iter()
            .map(|f| {
                json!({"name": f.name, "state": f.state.name(), "text": f.text, "why": f.why,
                "fix": f.fix})
            })
            .collect();
        let features = features.map(|features| features.to_string());
        say(&format!(
            "{:#}",
            json!({"state": worst.name(), "findings": each, "features": features})
        ))?;
    } else {
        let mut lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        lines.extend(
            features
                .map(|features| format!("{:4} {:14} {features}", State::Good.name(), "features")),
        );
        say(&lines.join("\n"))?;
    }
    match worst {
        State::Fail => {
            Err(Failure::Failed("tune check: this machine cannot run coregate as it is".to_owned()))
        }
        State::Warn if strict => Err(Failure::Failed(
            "tune check: something costs more than it should, see above".to_owned(),
        )),
        _ => Ok(()),
    }
}

fn layout(layout: &Layout, as_json: bool, apply: Option<&Path>) -> Result<(), Failure> {
    let proposal = layout.proposal();
    if as_json {
        let cpus: Vec<Value> = layout
            .cpus
            .iter()
            .map(|c| {
                json!({"cpu": c.id, "socket": c.socket, "node": c.node,
                "siblings": c.siblings, "cache": c.cache})
            })
            .collect();
        let cards: Vec<Value> = layout
            .cards
            .iter()
            .map(|(name, node)| json!({"name": name, "node": node}))
            .collect();
        let proposed = json!({"count": proposal.cores, "cpus": proposal.cpus,
            "left": proposal.left, "reasons": proposal.reasons});
        let json =
            json!({"cpus": cpus, "cards": cards, "quota": layout.limits.quota, "cores": proposed});
        say(&format!("{json:#}"))?;
    } else {
        say(&layout.to_string())?;
    }
    match apply {
        Some(path) => apply::write(path, &proposal),
        None => Ok(()),
    }
}
