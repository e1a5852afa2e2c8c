//! From a checked `Release` document to the release of the domain.

use serde_json::Value as Json;
use sluice_core::{
    diagnostic::Code,
    ids::Version,
    native::NativeRange,
    release::{Release, RollbackPolicy, Source},
};
use sluice_crds::release as crd;

use crate::{
    document::{accept, typed},
    walk::Walk,
};

/// The release, unless something is wrong with it.
pub(crate) fn read(file: &str, json: &Json, walk: &mut Walk<'_>) -> Option<Release> {
    one_source(walk);
    let path = json["spec"]["bundle"]["path"].as_str().map(|path| resolve(file, path));
    if let Some(Err(reason)) = &path {
        walk.report_field(Code::InvalidValue, "spec.bundle.path", reason);
    }
    let crd::ReleaseSpec { app, version, bundle, requires, rollback, notes, link, labels } =
        typed(&json["spec"], walk)?;
    let crd::Bundle { path: _, https, oci } = bundle;
    let source = match (path, https, oci) {
        (Some(Ok(path)), ..) => Source::Path(path),
        (_, Some(https), _) => Source::Https {
            url: https.url,
            sha256: accept(https.sha256.parse(), "spec.bundle.https.sha256", walk)?,
        },
        (.., Some(oci)) => {
            let message = "OCI sources are not supported yet; use `path` or `https`";
            walk.report_field(Code::SourceNotSupported, "spec.bundle.oci", message);
            Source::Oci { image: oci.image, digest: oci.digest }
        }
        _ => return None,
    };
    let native = match requires.and_then(|r| r.native) {
        Some(text) => Some(accept(text.parse::<NativeRange>(), "spec.requires.native", walk)?),
        None => None,
    };
    if let Some(range) = native.as_ref().filter(|range| range.is_empty()) {
        let message =
            format!("no version is in `{range}`, so no device can run this release; correct the range");
        walk.report_field(Code::ReleaseUnsatisfiable, "spec.requires.native", &message);
    }
    Some(Release {
        name: json["metadata"]["name"].as_str()?.to_owned(),
        app: accept(app.parse(), "spec.app", walk)?,
        version: accept(version.parse::<Version>(), "spec.version", walk)?,
        source,
        native,
        rollback: match rollback {
            crd::RollbackPolicy::Allowed => RollbackPolicy::Allowed,
            crd::RollbackPolicy::StopOnly => RollbackPolicy::StopOnly,
        },
        notes,
        link,
        labels,
    })
}

/// Exactly one of the sources is given.
fn one_source(walk: &mut Walk<'_>) {
    let given: Vec<String> = ["path", "https", "oci"]
        .into_iter()
        .map(|name| format!("spec.bundle.{name}"))
        .filter(|field| walk.fields.contains_key(field))
        .collect();
    if let [first, second, ..] = given.as_slice() {
        let message = format!("a bundle has one source; remove `{second}` or `{first}`");
        walk.report_field(Code::InvalidValue, second, &message);
    } else if given.is_empty() && walk.fields.contains_key("spec.bundle") {
        let message = "`spec.bundle` needs one of `path`, `https` and `oci`";
        walk.report_field(Code::MissingField, "spec.bundle", message);
    }
}

/// The path from the repository's root of a path that is relative to `file`.
fn resolve(file: &str, path: &str) -> Result<String, String> {
    if path.starts_with('/') {
        return Err("the path is absolute; write it relative to this file".into());
    }
    if path.contains('\\') {
        return Err("the path holds `\\`; separate directories with `/`".into());
    }
    if path.chars().any(char::is_control) {
        return Err("the path holds a control character".into());
    }
    let directory =
        || file.rsplit_once('/').map_or("", |(directory, _)| directory).split('/').filter(|p| !p.is_empty());
    let mut parts: Vec<&str> = directory().collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop().ok_or("the path leaves the repository; a bundle is inside it")?;
            }
            part => parts.push(part),
        }
    }
    if parts.iter().zip(directory()).filter(|(a, b)| **a == *b).count() == parts.len() {
        return Err(
            "the path is a directory that holds this file itself; put the bundle into one of its own".into(),
        );
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_file() {
        for (file, path, expected) in [
            ("shop/releases/a.yaml", "bundles/1", "shop/releases/bundles/1"),
            ("shop/releases/a.yaml", "./bundles//1/", "shop/releases/bundles/1"),
            ("shop/releases/a.yaml", "../bundles/1", "shop/bundles/1"),
            ("shop/releases/a.yaml", "../../shop2/x", "shop2/x"),
            ("a.yaml", "b.zip", "b.zip"),
            ("a.yaml", "..b/...", "..b/..."),
        ] {
            assert_eq!(resolve(file, path).as_deref(), Ok(expected), "{path}");
        }
        for (file, path) in [
            ("shop/a.yaml", "/etc"),
            ("shop/a.yaml", "../../x"),
            ("a.yaml", ".."),
            ("a.yaml", "."),
            ("shop/a.yaml", "b/.."),
            ("shop/a.yaml", "../"),
            ("shop/a.yaml", "..\\x"),
            ("shop/a.yaml", "x\n"),
        ] {
            assert!(resolve(file, path).is_err(), "{path}");
        }
    }
}
