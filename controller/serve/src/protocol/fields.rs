//! The fields of a request as they were sent, whatever their types: from a JSON body or from a query string.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A value of a field. It borrows from the request unless it had escapes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) enum Value<'a> {
    /// Missing or null.
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Integer(i64),
    Float(f64),
    Flag(bool),
    /// An array or an object.
    Other,
}

/// The value is of a type that the field cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrongType;

impl<'a> Value<'a> {
    /// A text; numbers count as their digits, `""` counts as absent.
    pub(super) fn text(&self) -> Result<Option<Cow<'_, str>>, WrongType> {
        match self {
            Self::Absent => Ok(None),
            Self::Text(text) if text.is_empty() => Ok(None),
            Self::Text(text) => Ok(Some(Cow::Borrowed(text))),
            Self::Integer(number) => Ok(Some(number.to_string().into())),
            Self::Float(number) => Ok(Some(number.to_string().into())),
            Self::Flag(_) | Self::Other => Err(WrongType),
        }
    }

    /// A text that does not matter when it is something else.
    pub(super) fn text_or_absent(&self) -> Option<Cow<'_, str>> {
        self.text().ok().flatten()
    }

    /// The text by itself, numbers excluded: the form that every client sends, without a copy.
    pub(super) fn as_str(&self) -> &str {
        if let Self::Text(text) = self { text } else { "" }
    }

    /// Turns numbers into texts, so that [`Self::as_str`] has them.
    pub(super) fn into_text(self) -> Result<Self, WrongType> {
        match self {
            Self::Integer(_) | Self::Float(_) => {
                Ok(Self::Text(Cow::Owned(self.text()?.unwrap_or_default().into_owned())))
            }
            Self::Flag(_) | Self::Other => Err(WrongType),
            text => Ok(text),
        }
    }

    /// The text by itself, taken out.
    pub(super) fn into_cow(self) -> Cow<'a, str> {
        if let Self::Text(text) = self { text } else { Cow::Borrowed("") }
    }

    /// A switch; also `"true"`, `"false"`, 1 and 0.
    pub(super) fn flag(&self, default: bool) -> Result<bool, WrongType> {
        match self {
            Self::Absent => Ok(default),
            Self::Flag(flag) => Ok(*flag),
            Self::Integer(0) => Ok(false),
            Self::Integer(1) => Ok(true),
            Self::Text(text) => match text.as_ref() {
                "" => Ok(default),
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(WrongType),
            },
            _ => Err(WrongType),
        }
    }

    /// A whole number; also as text or with a fraction, which is cut.
    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
            Self::Float(number) if number.abs() < 9e18 => Some(*number as i64),
            Self::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Value::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Value::Text(Cow::Owned(text.to_owned())))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Value::Integer(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(i64::try_from(number).map_or(Value::Float(number as f64), Value::Integer))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Value::Float(number))
            }
            fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
                Ok(Value::Flag(flag))
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Value::Absent)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value::Other)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

macro_rules! fields {
    ($($field:ident = $name:literal,)*) => {
        /// Every field that some request has. Later duplicates win.
        #[derive(Debug, Clone, Default)]
        pub(super) struct Fields<'a> {
            $(pub(super) $field: Value<'a>,)*
            pub(super) metadata: Metadata,
            /// The object had no field at all, known or unknown.
            pub(super) is_empty: bool,
        }

        #[derive(Clone, Copy)]
        #[expect(non_camel_case_types, reason = "named like the fields")]
        enum Name { $($field,)* metadata, unknown }

        impl Name {
            fn of(name: &str) -> Self {
                match name { $($name => Self::$field,)* "metadata" => Self::metadata, _ => Self::unknown }
            }
        }

        impl<'a> Fields<'a> {
            /// The fields of a query string.
            pub(super) fn from_query(query: &'a str) -> Self {
                let mut fields = Self { is_empty: true, ..Self::default() };
                for pair in query.split('&').filter(|pair| !pair.is_empty()) {
                    fields.is_empty = false;
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    match Name::of(&decode(name)) {
                        $(Name::$field => fields.$field = Value::Text(decode(value)),)*
                        Name::metadata | Name::unknown => {}
                    }
                }
                fields
            }

            fn fill<A: MapAccess<'a>>(&mut self, mut entries: A) -> Result<(), A::Error> {
                self.is_empty = true;
                while let Some(name) = entries.next_key::<Name>()? {
                    self.is_empty = false;
                    match name {
                        $(Name::$field => self.$field = entries.next_value()?,)*
                        Name::metadata => self.metadata = entries.next_value()?,
                        Name::unknown => { entries.next_value::<IgnoredAny>()?; }
                    }
                }
                Ok(())
            }
        }
    };
}

fields! {
    app_id = "app_id",
    device_id = "device_id",
    platform = "platform",
    plugin_version = "plugin_version",
    version_name = "version_name",
    version_build = "version_build",
    version_code = "version_code",
    version_os = "version_os",
    custom_id = "custom_id",
    default_channel = "defaultChannel",
    install_source = "install_source",
    key_id = "key_id",
    is_emulator = "is_emulator",
    is_prod = "is_prod",
    channel = "channel",
    action = "action",
    old_version_name = "old_version_name",
    timestamp = "timestamp",
    message = "message",
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyName;
        impl Visitor<'_> for AnyName {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_str<E>(self, name: &str) -> Result<Name, E> {
                Ok(Name::of(name))
            }
        }
        deserializer.deserialize_str(AnyName)
    }
}

/// `metadata` of an event, bounded as the official server bounds it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Metadata(pub(super) Vec<(String, String)>);

const METADATA_ENTRIES: usize = 30;
const METADATA_KEY: usize = 64;
const METADATA_VALUE: usize = 2048;

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lenient;
        impl<'de> Visitor<'de> for Lenient {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Metadata, A::Error> {
                let mut found = Vec::new();
                while let Some((key, value)) = entries.next_entry::<Value<'de>, Value<'de>>()? {
                    let (key, value) = (key.text_or_absent(), value.text_or_absent());
                    if let (Some(key), Some(value)) = (key, value)
                        && found.len() < METADATA_ENTRIES
                    {
                        found.push((
                            cut(&key, METADATA_KEY).to_owned(),
                            cut(&value, METADATA_VALUE).to_owned(),
                        ));
                    }
                }
                Ok(Metadata(found))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Metadata, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Metadata::default())
            }
            fn visit_str<E>(self, _: &str) -> Result<Metadata, E> {
                Ok(Metadata::default())
            }
            fn visit_i64<E>(self, _: i64) -> Result<Metadata, E> {
                Ok(Metadata::default())
            }
            fn visit_u64<E>(self, _: u64) -> Result<Metadata, E> {
                Ok(Metadata::default())
            }
            fn visit_f64<E>(self, _: f64) -> Result<Metadata, E> {
                Ok(Metadata::default())
            }
            fn visit_bool<E>(self, _: bool) -> Result<Metadata, E> {
                Ok(Metadata::default())
            }
            fn visit_unit<E>(self) -> Result<Metadata, E> {
                Ok(Metadata::default())
            }
        }
        deserializer.deserialize_any(Lenient)
    }
}

/// A JSON body.
#[derive(Debug, Clone)]
pub(super) enum Body<'a> {
    Object(Box<Fields<'a>>),
    /// An array; `None` for an item that is no object.
    Array(Vec<Option<Fields<'a>>>),
    /// An array of more than [`MOST_ITEMS`].
    TooMany,
    Other,
}

/// Items of an array: the newest clients hold at most 200 events, older ones sent 250 at once.
pub(super) const MOST_ITEMS: usize = 1_000;

/// The body is not JSON in UTF-8. What exactly is wrong with it is not repeated: it may hold an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotJson;

/// Reads a body; fails when it is not JSON.
pub(super) fn parse(body: &[u8]) -> Result<Body<'_>, NotJson> {
    let (mut fields, mut items) = (Fields::default(), Vec::new());
    let reader = Reader { object: &mut fields, items: Some(&mut items) };
    Ok(match read(body, reader)? {
        Shape::Object => Body::Object(Box::new(fields)),
        Shape::Array => Body::Array(items),
        Shape::TooMany => Body::TooMany,
        Shape::Other => Body::Other,
    })
}

/// Reads a body that should be one object into `fields`. Returns whether it is one; fails when it is not JSON.
pub(super) fn parse_object<'a>(body: &'a [u8], fields: &mut Fields<'a>) -> Result<bool, NotJson> {
    Ok(read(body, Reader { object: fields, items: None })? == Shape::Object)
}

/// One look at the whole body is faster than one at every string of it.
fn read<'a>(body: &'a [u8], reader: Reader<'_, 'a>) -> Result<Shape, NotJson> {
    let text = std::str::from_utf8(body).map_err(|_| NotJson)?;
    let mut json = serde_json::Deserializer::from_str(text);
    let shape = reader.deserialize(&mut json).map_err(|_| NotJson)?;
    json.end().map_err(|_| NotJson)?;
    Ok(shape)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Object,
    Array,
    TooMany,
    Other,
}

/// Reads an object in place, and an array of objects where one is expected. Everything else is skipped.
struct Reader<'f, 'a> {
    object: &'f mut Fields<'a>,
    items: Option<&'f mut Vec<Option<Fields<'a>>>>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_, 'de> {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_, 'de> {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Shape, A::Error> {
        self.object.fill(entries)?;
        Ok(Shape::Object)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Shape, A::Error> {
        let Some(items) = self.items else {
            while entries.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Shape::Array);
        };
        loop {
            if items.len() == MOST_ITEMS && entries.next_element::<IgnoredAny>()?.is_some() {
                while entries.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Shape::TooMany);
            }
            if items.len() == MOST_ITEMS {
                return Ok(Shape::Array);
            }
            let mut item = Fields::default();
            match entries.next_element_seed(Reader { object: &mut item, items: None })? {
                None => return Ok(Shape::Array),
                Some(shape) => items.push((shape == Shape::Object).then_some(item)),
            }
        }
    }
    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Other)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Other)
    }
    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Other)
    }
    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Other)
    }
}

/// The longest start of `text` with at most `bytes` bytes.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Undoes percent-encoding and `+`. What is not UTF-8 then becomes the replacement character.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|b| b == b'%' || b == b'+') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|d| hex::decode(d).ok());
        match (bytes[at], digits) {
            (b'%', Some(decoded)) => {
                out.extend_from_slice(&decoded);
                at += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            (other, _) => out.push(other),
        }
        at += 1;
    }
    Cow::Owned(String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(body: &[u8]) -> Option<Fields<'_>> {
        let mut fields = Fields::default();
        parse_object(body, &mut fields).unwrap().then_some(fields)
    }

    #[test]
    fn values_of_any_type() {
        let body = br#"{"app_id":"a\u0062c","device_id":7,"platform":null,"is_prod":"false","is_emulator":1,
            "timestamp":1795495935487.9,"custom_id":[1,{"x":[]}],"unknown":{"deep":[1,2]},"channel":"x","channel":"y"}"#;
        let fields = object(body).unwrap();
        assert_eq!(fields.app_id, Value::Text("abc".into()));
        assert_eq!(fields.device_id.text(), Ok(Some("7".into())));
        assert_eq!(fields.platform, Value::Absent);
        assert_eq!(fields.is_prod.flag(true), Ok(false));
        assert_eq!(fields.is_emulator.flag(false), Ok(true));
        assert_eq!(fields.timestamp.integer(), Some(1_795_495_935_487));
        assert_eq!(fields.custom_id.text(), Err(WrongType));
        assert_eq!(fields.channel.as_str(), "y");
        assert!(!fields.is_empty);
        assert!(object(b"{}").unwrap().is_empty);
        for scalar in ["1", "-1", "1.5", "\"x\"", "true", "null", "[]", "[1]"] {
            assert!(object(scalar.as_bytes()).is_none(), "{scalar}");
        }
        for broken in [&b"{"[..], b"", b"{\"a\":}", b"{\"app_id\":\"\xff\"}", b"{} x"] {
            assert!(parse_object(broken, &mut Fields::default()).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn query_strings() {
        let fields = Fields::from_query(
            "app_id=com.example.shop&version_os=14%2E1+x&is_prod=true&bad=%zz&custom_id=%ff&&x",
        );
        assert_eq!(fields.app_id.as_str(), "com.example.shop");
        assert_eq!(fields.version_os.as_str(), "14.1 x");
        assert_eq!(fields.is_prod.flag(false), Ok(true));
        assert_eq!(fields.custom_id.as_str(), "\u{fffd}");
        assert!(Fields::from_query("").is_empty);
        assert_eq!(decode("100%"), "100%");
    }

    #[test]
    fn metadata_is_bounded() {
        let long = "é".repeat(5000);
        let many: Vec<String> = (0..100).map(|n| format!("\"k{n}\":\"{long}\"")).collect();
        let body = format!("{{\"metadata\":{{{}}}}}", many.join(","));
        let Metadata(entries) = object(body.as_bytes()).unwrap().metadata;
        assert_eq!(entries.len(), METADATA_ENTRIES);
        assert!(entries.iter().all(|(_, value)| value.len() <= METADATA_VALUE && !value.is_empty()));
        for odd in ["[]", "[[1]]", "3", "-3", "1.5", "\"x\"", "true", "null", "{\"a\":[1]}"] {
            let body = format!("{{\"metadata\":{odd}}}");
            assert_eq!(object(body.as_bytes()).unwrap().metadata, Metadata::default(), "{odd}");
        }
    }
}
