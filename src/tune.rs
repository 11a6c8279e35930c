//! `coregate tune ...`: prints what `coregate-tuning` finds.
use crate::Failure;
use crate::cli::Tune;
use coregate_dataplane::ring::Features;

pub(crate) fn run(what: &Tune) -> Result<(), Failure> {
    match what {
        Tune::Check => {
            let findings = coregate_tuning::check::run();
            for finding in &findings {
                println!("{finding}");
            }
            // What stands in the way is among the findings already.
            if let Ok(features) = Features::probe() {
                println!("ok   {features}");
            }
            if findings.iter().any(|f| f.fatal) {
                return Err(Failure::Failed(
                    "tune check: this machine cannot run coregate as it is".to_owned(),
                ));
            }
        }
        Tune::Layout => print!("{}", coregate_tuning::layout::Layout::read()),
        Tune::Unit => print!("{}", coregate_tuning::deploy::UNIT),
        Tune::Grants { user, host, databases } => {
            print!("{}", crate::grants::statements(user, host, databases));
        }
        Tune::Manifest => print!("{}", coregate_tuning::deploy::MANIFEST),
    }
    Ok(())
}
