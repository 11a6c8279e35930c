//! HdrHistogram's text form of a percentile distribution, which its plotters read; values in
//! milliseconds.
use hdrhistogram::Histogram;
use std::fmt::Write;

/// Lines until the rest is halved.
const TICKS: u32 = 5;

pub(super) fn text(histogram: &Histogram<u64>) -> String {
    let mut out = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut count = 0;
    for step in histogram.iter_quantiles(TICKS) {
        count += step.count_since_last_iteration();
        let (value, quantile) =
            (step.value_iterated_to() as f64 / 1e6, step.quantile_iterated_to());
        // Writing to a string cannot fail.
        let _ = match quantile < 1.0 {
            true => writeln!(
                out,
                "{value:12.3} {quantile:14.12} {count:10} {:14.2}",
                1.0 / (1.0 - quantile)
            ),
            false => writeln!(out, "{value:12.3} {quantile:14.12} {count:10}"),
        };
    }
    let (mean, deviation) = (histogram.mean() / 1e6, histogram.stdev() / 1e6);
    let (max, total) = (histogram.max() as f64 / 1e6, histogram.len());
    let (buckets, sub) = (histogram.buckets(), 1u32 << histogram.sigfig().min(3) << 8);
    let _ = writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(out, "#[Max     = {max:12.3}, Total count    = {total:12}]");
    let _ = writeln!(out, "#[Buckets = {buckets:12}, SubBuckets     = {sub:12}]");
    out
}
