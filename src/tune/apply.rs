//! Writes a proposal into a configuration file, of which everything else stays as it is, comments,
//! too.
use crate::Failure;
use crate::config::File;
use coregate_tuning::layout::Proposal;
use std::path::Path;

/// Keys of `[cores]` that are written anew.
const KEYS: [&str; 2] = ["count", "cpus"];

pub(super) fn write(path: &Path, proposal: &Proposal) -> Result<(), Failure> {
    let wrong = |why: String| Failure::Usage(format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    File::parse(&text).map_err(wrong)?;
    let new = edited(&text, proposal);
    File::parse(&new).map_err(wrong)?;
    if new == text {
        return crate::ctl::say(&format!("{} says so already", path.display()));
    }
    let failed = |e: std::io::Error| Failure::Failed(format!("{}: {e}", path.display()));
    // A link stays one: what it leads to is replaced.
    let path = &std::fs::canonicalize(path).map_err(failed)?;
    // Whole or not at all, with the rights of the file that it replaces.
    let beside = path.with_extension("toml.new");
    std::fs::write(&beside, new).map_err(failed)?;
    let rights = std::fs::metadata(path).map_err(failed)?.permissions();
    std::fs::set_permissions(&beside, rights).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)?;
    crate::ctl::say(&format!("written to {}; it holds from the next start on", path.display()))
}

fn edited(text: &str, proposal: &Proposal) -> String {
    let section = proposal.toml();
    let lines = section.trim_start_matches("[cores]\n");
    let (mut out, mut inside, mut done, mut open) = (String::new(), false, false, false);
    for line in text.lines() {
        let bare = line.trim();
        if open {
            // The rest of an array over several lines.
            open = !bare.contains(']');
            continue;
        }
        if bare.starts_with('[') {
            inside = bare.split('#').next().map(str::trim) == Some("[cores]");
        }
        let key = bare.split('=').next().map(str::trim);
        if inside && key.is_some_and(|key| KEYS.contains(&key)) {
            open = bare.contains('[') && !bare.contains(']');
            continue;
        }
        out.push_str(line);
        out.push('\n');
        if inside && !done {
            out.push_str(lines);
            done = true;
        }
    }
    if !done {
        let gap = if out.is_empty() { "" } else { "\n" };
        out.push_str(&format!("{gap}{section}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposal(cpus: Option<Vec<usize>>) -> Proposal {
        Proposal {
            cores: cpus.as_ref().map_or(1, Vec::len),
            cpus,
            left: Vec::new(),
            reasons: Vec::new(),
        }
    }

    #[test]
    fn only_the_two_keys_change() {
        let one = proposal(Some(vec![0]));
        assert_eq!(edited("", &one), "[cores]\ncount = 1\ncpus = [0]\n");
        let text = "# mine\n[server]\nlisten = \":3307\" # here\n\n[cores] # these\ncoalesce_us = \
            50\ncpus = [\n  1,\n  2,\n]\ncount = 2\n[pool]\nidle_s = 9\n";
        let new = edited(text, &proposal(None));
        assert_eq!(
            new,
            "# mine\n[server]\nlisten = \":3307\" # here\n\n[cores] # these\ncount = 1\ncpus = \
                \"any\"\ncoalesce_us = 50\n[pool]\nidle_s = 9\n"
        );
        // Once more changes nothing.
        assert_eq!(edited(&new, &proposal(None)), new);
        assert_eq!(
            edited("[pool]\nidle_s = 9\n", &one),
            "[pool]\nidle_s = 9\n\n[cores]\ncount = 1\ncpus = [0]\n"
        );
    }

    #[test]
    fn a_file_that_would_be_wrong_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coregate.toml");
        for text in ["[server]\ncores = 3\n", "[srever]\n"] {
            std::fs::write(&path, text).unwrap();
            let error = write(&path, &proposal(Some(vec![0])))
                .unwrap_err()
                .to_string();
            assert!(error.contains("coregate.toml"), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        let link = dir.path().join("link.toml");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        std::fs::write(&path, "[log]\nformat = \"text\"\n").unwrap();
        write(&link, &proposal(Some(vec![0]))).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .contains("cpus = [0]")
        );
        std::fs::write(&path, "[log]\nformat = \"json\"\n").unwrap();
        write(&path, &proposal(Some(vec![0]))).unwrap();
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .ends_with("[cores]\ncount = 1\ncpus = [0]\n")
        );
    }
}
