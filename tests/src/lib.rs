//! Whole-system tests; the code stands in `tests/` beside this file.
