//! What may be said in logs: nothing per request above `debug`, no device ids, paths without queries.
//!
//! Device ids reach this crate in bodies and, from `channel_self` with GET and DELETE, in queries. Neither is logged at
//! any level.

use std::fmt;

use http::Uri;

/// The path of a request, without its query. Only printable ASCII, and not more than 128 bytes.
#[derive(Clone, Copy)]
pub struct PathOnly<'u>(pub &'u Uri);

impl fmt::Display for PathOnly<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.path().bytes().take(128) {
            let c = if byte.is_ascii_graphic() { char::from(byte) } else { '?' };
            fmt::Write::write_char(f, c)?;
        }
        Ok(())
    }
}

impl fmt::Debug for PathOnly<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_dropped_and_paths_are_cut() {
        let uri: Uri = "/channel_self?device_id=1b4e28ba".parse().unwrap();
        assert_eq!(PathOnly(&uri).to_string(), "/channel_self");
        let uri: Uri = format!("/{}", "x".repeat(1000)).parse().unwrap();
        assert_eq!(PathOnly(&uri).to_string().len(), 128);
    }
}
