//! The spool: the durable queue, and the only hand-off between ingest and delivery.
