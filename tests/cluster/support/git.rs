//! Secrets of the Git server: nothing may ever show them.

/// The robot's password.
pub const PASSWORD: &str = "canary-password-1";
/// What webhooks are signed with.
pub const HOOK_SECRET: &str = "canary-hook-secret-1";
