//! What a file may cost.

/// Bytes of a file.
pub const FILE_BYTES: usize = 1024 * 1024;

/// Nodes (scalars, lists and mappings) of a document, those behind aliases counted each time.
pub const NODES: usize = 5_000;

/// Lists and mappings inside each other.
pub const DEPTH: usize = 32;

/// Problems that are reported of one document; the first ones matter, and a file of nonsense could make thousands.
pub const PROBLEMS: usize = 50;

/// Documents of ours in a file.
pub const DOCUMENTS: usize = 1_000;

/// Problems that are reported of one file.
pub const FILE_PROBLEMS: usize = 1_000;
