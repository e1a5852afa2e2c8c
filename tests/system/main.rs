//! Whole-system tests: the real program, driven from outside.

mod house;
