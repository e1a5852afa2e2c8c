//! How large a bundle may be.

/// Bounds that a bundle must keep. They protect the controller's disk and memory, and phones, which need twice the
/// bundle's size free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files. Default 20,000.
    pub entries: usize,
    /// Plaintext bytes of one file. Default 512 MiB.
    pub file_bytes: u64,
    /// Plaintext bytes of all files together. Default 1 GiB, also the official limit for uploads.
    pub total_bytes: u64,
    /// Plaintext bytes per compressed byte that an entry of a given zip may claim. Default 200.
    pub ratio: u64,
    /// Entries up to this plaintext size may exceed `ratio`. Default 1 MiB.
    pub ratio_free_bytes: u64,
    /// Bytes of one path segment. Default 255, what the file systems of phones hold.
    pub segment_bytes: usize,
    /// Bytes of a whole path. Default 768: iOS allows 1,024 including the folder that the bundle is unzipped into.
    pub path_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 20_000,
            file_bytes: 512 << 20,
            total_bytes: 1 << 30,
            ratio: 200,
            ratio_free_bytes: 1 << 20,
            segment_bytes: 255,
            path_bytes: 768,
        }
    }
}
