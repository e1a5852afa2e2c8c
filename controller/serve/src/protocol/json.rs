//! Writes the small JSON objects of the protocol without an intermediate value.

use bytes::Bytes;

/// A JSON text that grows.
#[derive(Debug)]
pub(super) struct Writer(Vec<u8>);

/// An object that is being written.
#[derive(Debug)]
pub(super) struct Object<'w> {
    out: &'w mut Vec<u8>,
    first: bool,
}

impl Writer {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(super) fn object(&mut self, fill: impl FnOnce(&mut Object<'_>)) {
        self.0.push(b'{');
        fill(&mut Object { out: &mut self.0, first: true });
        self.0.push(b'}');
    }

    /// An array of `items`, each written by `each`.
    pub(super) fn array<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T),
    ) {
        self.0.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.0.push(b',');
            }
            each(self, item);
        }
        self.0.push(b']');
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn finish(self) -> Bytes {
        self.0.into()
    }
}

impl Object<'_> {
    fn key(&mut self, key: &str) {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// A string.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.texts(key, &[value]);
    }

    /// A string made of parts.
    pub(super) fn texts(&mut self, key: &str, parts: &[&str]) {
        self.key(key);
        self.out.push(b'"');
        for part in parts {
            escape(self.out, part);
        }
        self.out.push(b'"');
    }

    pub(super) fn flag(&mut self, key: &str, value: bool) {
        self.raw(key, if value { b"true" } else { b"false" });
    }

    pub(super) fn number(&mut self, key: &str, value: usize) {
        self.raw(key, value.to_string().as_bytes());
    }

    /// A value that is JSON already.
    pub(super) fn raw(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.out.extend_from_slice(value);
    }
}

fn escape(out: &mut Vec<u8>, text: &str) {
    let plain = |b: u8| b >= 0x20 && b != b'"' && b != b'\\';
    // Without an early exit the loop is vectorised; almost every text is plain.
    if text.bytes().fold(true, |all, b| all & plain(b)) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            _ if plain(byte) => out.push(byte),
            control => {
                let mut hex = [0; 2];
                hex::encode_to_slice([control], &mut hex).expect("two characters hold one byte");
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&hex);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_survives(text in any::<String>(), control in "[\\x00-\\x1f\"\\\\]{0,8}") {
            let mut writer = Writer::with_capacity(0);
            writer.object(|o| {
                o.texts("a", &[&text, &control]);
                o.flag("b", true);
                o.number("c", 7);
            });
            let read: serde_json::Value = serde_json::from_slice(&writer.finish()).unwrap();
            prop_assert_eq!(read, serde_json::json!({"a": format!("{text}{control}"), "b": true, "c": 7}));
        }
    }
}
