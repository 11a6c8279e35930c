//! Log lines go to stderr; `RUST_LOG` chooses among them.
use crate::Failure;
use crate::cli::LogFormat;
use tracing_subscriber::EnvFilter;

pub(crate) fn init(format: LogFormat) -> Result<(), Failure> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::builder().parse(&text).map_err(|e| {
            Failure::Usage(format!(
                "RUST_LOG = {text:?}: {e}; write e.g. debug or coregate_dataplane=debug"
            ))
        })?,
        _ => EnvFilter::new("info"),
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would say on stderr that stderr cannot be written to (a full disk), which panics.
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // Fails only if it has been done before.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(false).with_target(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    Ok(())
}
