//! Values of a statement, in the order of its placeholders.

use std::borrow::Cow;

use sqlx::{
    Arguments as _, Encode, Postgres, Sqlite, Type, error::BoxDynError, postgres::PgArguments,
    sqlite::SqliteArguments,
};

/// The values, and the first one that could not be one.
pub(crate) struct Values {
    of: Of,
    failed: Option<BoxDynError>,
}

enum Of {
    Sqlite(SqliteArguments),
    Postgres(PgArguments),
}

/// What can be a value in either database.
pub(crate) trait Value {
    /// Adds it.
    fn add_to(self, values: &mut Values);
}

impl Values {
    pub(super) fn for_sqlite() -> Self {
        Self { of: Of::Sqlite(SqliteArguments::default()), failed: None }
    }

    pub(super) fn for_postgres() -> Self {
        Self { of: Of::Postgres(PgArguments::default()), failed: None }
    }

    pub(super) fn reserve(&mut self, values: usize) {
        match &mut self.of {
            Of::Sqlite(arguments) => arguments.reserve(values, 0),
            Of::Postgres(arguments) => arguments.reserve(values, values * 16),
        }
    }

    /// Adds a value.
    pub(crate) fn add(&mut self, value: impl Value) -> &mut Self {
        value.add_to(self);
        self
    }

    fn put<'t, T>(&mut self, value: T)
    where
        T: Encode<'t, Sqlite> + Type<Sqlite> + Encode<'t, Postgres> + Type<Postgres> + 't,
    {
        let added = match &mut self.of {
            Of::Sqlite(arguments) => arguments.add(value),
            Of::Postgres(arguments) => arguments.add(value),
        };
        if let Err(error) = added {
            self.failed.get_or_insert(error);
        }
    }

    /// Postgres has no text with a zero character, which clients can send. It becomes the replacement character.
    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if matches!(self.of, Of::Postgres(_)) && text.contains('\0') {
            Cow::Owned(text.replace('\0', "\u{fffd}"))
        } else {
            Cow::Borrowed(text)
        }
    }

    pub(super) fn sqlite(self) -> Result<SqliteArguments, sqlx::Error> {
        match (self.failed, self.of) {
            (None, Of::Sqlite(arguments)) => Ok(arguments),
            (Some(error), _) => Err(sqlx::Error::Encode(error)),
            (None, Of::Postgres(_)) => Err(sqlx::Error::Encode("values of another database".into())),
        }
    }

    pub(super) fn postgres(self) -> Result<PgArguments, sqlx::Error> {
        match (self.failed, self.of) {
            (None, Of::Postgres(arguments)) => Ok(arguments),
            (Some(error), _) => Err(sqlx::Error::Encode(error)),
            (None, Of::Sqlite(_)) => Err(sqlx::Error::Encode("values of another database".into())),
        }
    }
}

macro_rules! as_it_is {
    ($($kind:ty),*) => {
        $(impl Value for $kind {
            fn add_to(self, values: &mut Values) {
                values.put(self);
            }
        })*
    };
}

as_it_is!(i64, Option<i64>, Vec<u8>, &[u8], Option<&[u8]>);

impl Value for &str {
    fn add_to(self, values: &mut Values) {
        match values.text(self) {
            Cow::Borrowed(text) => values.put(text),
            Cow::Owned(text) => values.put(text),
        }
    }
}

impl Value for String {
    fn add_to(self, values: &mut Values) {
        values.add(&*self);
    }
}

impl Value for Option<&str> {
    fn add_to(self, values: &mut Values) {
        match self {
            Some(text) => text.add_to(values),
            None => values.put(None::<&str>),
        }
    }
}
