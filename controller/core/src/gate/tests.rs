//! The gate as a whole: journals in, verdicts out.

mod chance;
mod fleet;
mod odd;
mod verdicts;
