//! What phones send.

/// An update check of device `n` of an app, on its shipped bundle.
pub fn check(app: &str, n: usize) -> String {
    format!(
        r#"{{"version_os":"14","plugin_version":"8.51.23","device_id":"00000000-0000-4000-8000-{n:012x}","custom_id":"","version_code":"1","version_build":"1.0.0","platform":"android","version_name":"1.0.0","is_prod":true,"install_source":"google_play","app_id":"{app}","defaultChannel":"","is_emulator":false}}"#
    )
}

/// What device `n` reports in the `t`-th millisecond.
pub fn event(app: &str, n: usize, t: usize) -> String {
    let check = check(app, n);
    let open = check.trim_end_matches('}');
    format!(
        r#"{open},"action":"app_moved_to_foreground","old_version_name":"","timestamp":{}}}"#,
        1_795_495_935_000 + t
    )
}
