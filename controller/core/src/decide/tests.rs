//! The deciding table, row by row.
