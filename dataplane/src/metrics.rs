//! Counters of a core. Only the core writes them and no two cores share a cache line; the control
//! plane reads them at leisure.
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter with one writer: a plain load and store, no locked instruction.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, by: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $help:literal])* $kind:ident $field:ident $name:literal;)*) => {
        /// One core's counters and gauges.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(crate) struct CoreMetrics {
            $($(#[doc = $help])* pub(crate) $field: Counter,)*
        }

        impl CoreMetrics {
            pub(crate) fn read(&self, core: u16, out: &mut Vec<coregate_planner::control::Metric>) {
                $(out.push(coregate_planner::control::Metric {
                    name: $name,
                    help: concat!($($help),*).trim_ascii(),
                    kind: coregate_planner::control::MetricKind::$kind,
                    labels: vec![("core", core.to_string())],
                    value: self.$field.get() as f64,
                });)*
            }
        }
    };
}

counters! {
    /// Client connections accepted.
    Counter connections "coregate_connections_total";
    /// Client connections refused because the limit was reached (error 1040).
    Counter connections_refused "coregate_connections_refused_total";
    /// Logins that failed.
    Counter logins_failed "coregate_logins_failed_total";
    /// Client connections open now.
    Gauge sessions "coregate_sessions";
    /// Statements executed.
    Counter queries "coregate_queries_total";
    /// Statements answered with an error.
    Counter errors "coregate_errors_total";
    /// Statements sent to more than one shard.
    Counter scatters "coregate_scatter_queries_total";
    /// Queries over several shards whose rows were merged here.
    Counter merged "coregate_merged_queries_total";
    /// Queries over several shards that one server finished over gathered rows.
    Counter finished "coregate_finished_queries_total";
    /// Rows gathered for the servers that finish queries.
    Counter gathered_rows "coregate_gathered_rows_total";
    /// Tables that were gathered by the values of others only.
    Counter keyed_gathers "coregate_keyed_gathers_total";
    /// Statements sent to shards.
    Counter shard_queries "coregate_shard_queries_total";
    /// Rows relayed to clients.
    Counter rows "coregate_rows_total";
    /// Bytes received from backends and relayed.
    Counter bytes_relayed "coregate_relayed_bytes_total";
    /// Transactions begun on a backend.
    Counter transactions "coregate_transactions_total";
    /// Transactions that were committed on all of their shards or on none.
    Counter atomic_commits "coregate_atomic_commits_total";
    /// Those of which a shard has yet to be told, or whose outcome the client was not told: the
    /// resolver finishes them.
    Counter atomic_unfinished "coregate_atomic_unfinished_total";
    /// Snapshots opened over several shards.
    Counter snapshots "coregate_snapshots_total";
    /// Reads that were answered with the answer of an equal one.
    Counter consolidations "coregate_consolidations_total";
    /// Reads that wait for the answer of an equal one now.
    Gauge consolidation_waiting "coregate_consolidation_waiting";
    /// Transactions that have waited for others that change the same row.
    Counter hot_row_waits "coregate_hot_row_waits_total";
    /// Transactions waiting for others that change the same row now.
    Gauge hot_row_waiting "coregate_hot_row_waiting";
    /// Transactions refused because too many change the same row, or wait.
    Counter hot_row_refused "coregate_hot_row_refused_total";
    /// Transactions that would have waited, in a dry run.
    Counter hot_row_waits_dry_run "coregate_hot_row_waits_dry_run_total";
    /// Transactions that would have been refused, in a dry run.
    Counter hot_row_refused_dry_run "coregate_hot_row_refused_dry_run_total";
    /// Transactions refused because of their user's share (server.transaction_limit_per_user).
    Counter transaction_limit_refused "coregate_transaction_limit_refused_total";
    /// Plans found in the cache.
    Counter plan_hits "coregate_plan_cache_hits_total";
    /// Statements that had to be planned.
    Counter plan_misses "coregate_plan_cache_misses_total";
    /// Plans dropped for room.
    Counter plan_evictions "coregate_plan_cache_evictions_total";
    /// Plans kept now.
    Gauge plans "coregate_plan_cache_entries";
    /// Bytes of plans kept now.
    Gauge plan_bytes "coregate_plan_cache_bytes";
    /// Plans kept at most (plans.entries_per_core).
    Gauge plans_max "coregate_plan_cache_entries_max";
    /// Bytes of plans kept at most (plans.bytes_per_core).
    Gauge plan_bytes_max "coregate_plan_cache_bytes_max";
    /// Bytes of rows that a statement over several shards may hold (query.memory_max).
    Gauge query_memory_max "coregate_query_memory_max_bytes";
    /// Bytes of rows that statements over several shards hold now.
    Gauge query_memory "coregate_query_memory_bytes";
    /// Bytes that those of a core may hold (query.memory_per_core_max).
    Gauge query_memory_per_core_max "coregate_query_memory_per_core_max_bytes";
    /// Statements that a client may have prepared (server.statements_max).
    Gauge statements_max "coregate_client_statements_max";
    /// Statements kept prepared on one backend connection (pool.statements_max).
    Gauge backend_statements_max "coregate_backend_statements_max";
    /// Queries killed because their client was gone.
    Counter orphans_killed "coregate_orphaned_queries_killed_total";
    /// Sessions that another process has taken over while they rested.
    Counter sessions_moved_out "coregate_sessions_moved_out_total";
    /// Sessions taken over from the process before.
    Counter sessions_moved_in "coregate_sessions_moved_in_total";
    /// Sessions ended by the idle timeout.
    Counter idle_timeouts "coregate_idle_timeouts_total";
    /// Sessions ended because their transaction was open, or idle, for too long.
    Counter transaction_timeouts "coregate_transaction_timeouts_total";
    /// Statements ended by the query timeout.
    Counter query_timeouts "coregate_query_timeouts_total";
    /// Turns of the core's loop.
    Counter turns "coregate_core_turns_total";
    /// Turns that slept.
    Counter sleeps "coregate_core_sleeps_total";
    /// Sleeps that waited for several answers.
    Counter coalesced "coregate_core_coalesced_sleeps_total";
    /// Completions of the ring.
    Counter completions "coregate_core_completions_total";
    /// Receives that found no buffer.
    Counter buffers_exhausted "coregate_core_buffers_exhausted_total";
    Counter buffers_spilled "coregate_core_buffers_spilled_total";
    /// Receive buffers that were made and nobody holds; more are made up to cores.buffers_8k_max
    /// and cores.buffers_64k_max.
    Gauge buffers_free "coregate_core_buffers_free";
    /// Sends that had to wait for a slow peer.
    Counter blocked_sends "coregate_core_blocked_sends_total";
    /// Backend connections open now.
    Gauge backends "coregate_backend_connections";
    /// Backend connections that rest in their pool.
    Gauge backends_idle "coregate_backend_connections_idle";
    /// Backend connections opened.
    Counter backend_connects "coregate_backend_connects_total";
    /// Backend connections that could not be opened.
    Counter backend_connect_errors "coregate_backend_connect_errors_total";
    /// Backend connections closed because they could not be trusted any more.
    Counter backend_discards "coregate_backend_discards_total";
    /// Backend connections reset because another session's settings were on them.
    Counter backend_resets "coregate_backend_resets_total";
    /// Statements that had to wait for a backend connection.
    Counter pool_waits "coregate_pool_waits_total";
    /// Time spent waiting for backend connections, in microseconds.
    Counter pool_wait_us "coregate_pool_wait_microseconds_total";
    /// Statements that gave up waiting for a backend connection.
    Counter pool_timeouts "coregate_pool_wait_timeouts_total";
    /// Statements that have waited for a primary to be replaced.
    Counter buffered "coregate_buffered_total";
    /// Statements waiting for a primary to be replaced now.
    Gauge buffered_now "coregate_buffered";
    /// Lines of the query log that were lost because the disk did not keep up.
    Counter log_dropped "coregate_query_log_dropped_total";
    /// Reads that a replica was not ready for in time: they went to the primary.
    Counter causal_fallbacks "coregate_read_after_write_fallbacks_total";
    /// Bytes of the requests that wait for a primary to be replaced now.
    Gauge buffered_bytes "coregate_buffered_bytes";
    /// Statements that could not wait for a primary to be replaced: no room, too long, or too soon
    /// after the last time.
    Counter buffer_refused "coregate_buffer_refused_total";
    /// Statements that have waited in vain for a primary to be replaced.
    Counter buffer_timeouts "coregate_buffer_timeouts_total";
    /// Statements waiting for a backend connection now.
    Gauge pool_waiting "coregate_pool_waiting";
}
