//! Real parts for tests: a control plane, object storage, a database.
