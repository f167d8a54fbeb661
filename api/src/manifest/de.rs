//! From a tree to typed objects: a serde deserializer over nodes.
//!
//! Written here, not put together from serde_json and adapters, because it is what makes the
//! messages good: it knows the field's path and line, what was written and in which quotes, and
//! the names that the type knows.
//!
//! Reads as an API server does: `null` for a field means that it is absent. Unknown fields are
//! warnings (the object is taken on without them). Unquoted `yes`, `no`, `on`, `off` are booleans
//! where the field is one, as with kubectl, and text with a warning elsewhere.

mod access;
mod error;

use std::cell::RefCell;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use access::{Fields, Items};
pub(super) use error::Error;

use super::path::Path;
use super::problem::Findings;
use super::tree::{Node, Scalar, ScalarKind, Value};

/// What is the same for all nodes of one object.
pub(super) struct Context<'c> {
    /// Doubts; errors come back as [`Error`].
    pub findings: RefCell<Findings>,
    /// Fields of the Gateway API and of MetalLB that exist, but that this program does not obey;
    /// list indices are left out (`spec.listeners[].tls`).
    pub unserved: &'c [&'c str],
    /// Whether values of these top-level fields are secret and never shown.
    pub secret: &'c [&'c str],
}

/// Reads an object of type `T`.
///
/// # Errors
/// A field that does not fit the type.
pub(super) fn decode<T: DeserializeOwned>(
    node: &Node<'_>,
    context: &Context<'_>,
) -> Result<T, Error> {
    T::deserialize(Reader { node, path: Path::Root, context })
}

/// One node on its way to a value.
#[derive(Clone, Copy)]
struct Reader<'n, 'p> {
    node: &'n Node<'n>,
    path: Path<'p>,
    context: &'n Context<'n>,
}

impl<'n> Reader<'n, '_> {
    /// An error at this field.
    fn error(&self, message: impl Into<String>) -> Error {
        Error::new(message).at(&self.path)
    }

    /// The value as it was written, for messages; withheld when it may be a secret.
    fn shown(&self) -> String {
        if self.context.secret.contains(&self.path.top()) {
            return "what is written".to_owned();
        }
        match &self.node.value {
            Value::Scalar(Scalar { kind: ScalarKind::Null, .. }) => "nothing".to_owned(),
            Value::Scalar(Scalar { kind: ScalarKind::Quoted, text }) => shorten(text, true),
            Value::Scalar(scalar) => shorten(&scalar.text, false),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        }
    }

    fn must_be(&self, what: &str) -> Error {
        self.error(format!("must be {what}, not {}", self.shown()))
    }

    fn scalar(&self) -> Option<&'n Scalar<'n>> {
        match &self.node.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    fn integer(&self, min: i128, max: i128) -> Result<i128, Error> {
        match self.scalar().map(|scalar| (scalar.kind, &*scalar.text)) {
            Some((ScalarKind::Int(number), _)) => {
                let number = i128::from(number);
                if (min..=max).contains(&number) {
                    return Ok(number);
                }
                // Not the range of the Rust type: the field's own may be narrower.
                Err(if number > max {
                    self.must_be(&format!("at most {max}"))
                } else if min == 0 {
                    self.error(format!("must not be negative, as {number} is"))
                } else {
                    self.must_be(&format!("at least {min}"))
                })
            }
            Some((ScalarKind::Plain | ScalarKind::Quoted, text)) => {
                let Ok(number) = text.trim().parse::<i64>() else {
                    return Err(self.must_be("a whole number"));
                };
                Err(self.error(format!(
                    "must be a number, not text: write `{}`",
                    self.example(&number.to_string())
                )))
            }
            _ => Err(self.must_be("a whole number")),
        }
    }

    /// `port: 80` for a field, `- 80` for an item of a list.
    fn example(&self, value: &str) -> String {
        match self.path {
            Path::Key(_, key) => format!("{}: {value}", key.escape_debug()),
            Path::Root | Path::Index(..) => format!("- {value}"),
        }
    }

    fn string(&self) -> Result<&'n str, Error> {
        let Some(scalar) = self.scalar() else { return Err(self.must_be("text")) };
        match scalar.kind {
            ScalarKind::Plain | ScalarKind::Quoted => {
                self.doubt_ambiguous(scalar);
                Ok(&scalar.text)
            }
            ScalarKind::Null => Err(self.must_be("text")),
            _ if self.context.secret.contains(&self.path.top()) => {
                Err(self.error("must be text: put the value in quotes"))
            }
            _ => {
                let quoted = shorten(&scalar.text, true);
                Err(self.error(format!("must be text: write `{}`", self.example(&quoted))))
            }
        }
    }

    fn doubt_ambiguous(&self, scalar: &Scalar<'_>) {
        if !scalar.is_ambiguous() || self.context.secret.contains(&self.path.top()) {
            return;
        }
        let message = format!(
            "kubectl does not read {} as text: write `{}`",
            scalar.text,
            self.example(&shorten(&scalar.text, true))
        );
        self.context.findings.borrow_mut().warning(self.path.to_string(), message);
    }
}

/// A text for a message: one line, not endless.
pub(super) fn shorten(text: &str, quotes: bool) -> String {
    const LONGEST: usize = 60;
    let quote = if quotes { "\"" } else { "" };
    let mut start: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        start.push('…');
    }
    format!("{quote}{start}{quote}")
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty),+ $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let number = self.integer(<$type>::MIN.into(), <$type>::MAX.into())?;
            let number = <$type>::try_from(number).expect("integer() keeps the range");
            visitor.$visit(number).map_err(|error: Error| error.at(&self.path))
        }
    )+};
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Error;

    integers!(
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    );

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let scalar = self.scalar();
        let value = match scalar.map(|scalar| scalar.kind) {
            Some(ScalarKind::Bool(value)) => Some(value),
            _ => scalar.and_then(Scalar::as_yaml_1_1_bool),
        };
        let value = value.ok_or_else(|| self.must_be("`true` or `false` without quotes"))?;
        visitor.visit_bool(value)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.scalar().map(|scalar| scalar.kind) {
            Some(ScalarKind::Float(number)) => visitor.visit_f64(number),
            Some(ScalarKind::Int(number)) => visitor.visit_i64(number),
            _ => Err(self.must_be("a number")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.string()?).map_err(|error: Error| error.at(&self.path))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Value::List(items) = &self.node.value else {
            return Err(self.must_be("a list (each item on a line that starts with `- `)"));
        };
        visitor.visit_seq(Items::new(items, &self)).map_err(|error| error.at(&self.path))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Value::Map(entries) = &self.node.value else {
            return Err(self.must_be("a mapping (`key: value` lines)"));
        };
        visitor.visit_map(Fields::all(entries, &self)).map_err(|error| error.at(&self.path))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Value::Map(entries) = &self.node.value else {
            return Err(self.must_be("a mapping (`key: value` lines)"));
        };
        visitor
            .visit_map(Fields::known(entries, fields, &self))
            .map_err(|error| error.at(&self.path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let name: StrDeserializer<'_, Error> = self.string()?.into_deserializer();
        visitor.visit_enum(name).map_err(|error| error.at(&self.path))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Value::Scalar(scalar) = &self.node.value else {
            return match &self.node.value {
                Value::List(_) => self.deserialize_seq(visitor),
                _ => self.deserialize_map(visitor),
            };
        };
        match scalar.kind {
            ScalarKind::Null => visitor.visit_unit(),
            ScalarKind::Bool(value) => visitor.visit_bool(value),
            ScalarKind::Int(number) => visitor.visit_i64(number),
            ScalarKind::Float(number) => visitor.visit_f64(number),
            ScalarKind::Plain | ScalarKind::Quoted => visitor.visit_borrowed_str(&scalar.text),
        }
        .map_err(|error: Error| error.at(&self.path))
    }

    forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}
