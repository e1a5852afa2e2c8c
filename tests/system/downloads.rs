//! Downloads as clients of every age make them, and what becomes of one that fails.

use crate::support::{Server, World, channel, phone, sha256};
use sluice_repo::testing::Changes;

/// A server of the shop, and the path and bytes of its first bundle.
fn served(world: &World) -> (Server, String, Vec<u8>) {
    let server = world.serve();
    let answer = phone(1).awaits(&server, "1.1.0");
    let zip = phone(1).downloads(&server, "1.1.0");
    let path = format!("/bundles/{}.zip", answer["checksum"].as_str().unwrap());
    assert!(answer["url"].as_str().unwrap().ends_with(&path), "{answer}");
    (server, path, zip)
}

#[test]
fn ranges_resume_where_a_download_broke() {
    let world = World::shop();
    let (server, path, zip) = served(&world);
    let size = zip.len();
    let get = |range: &str| server.send("GET", &path, &[("range", range), ("accept-encoding", "gzip")], b"");
    for from in [0, 1, size / 2, size - 1] {
        let part = get(&format!("bytes={from}-")).has_status(206);
        assert_eq!(part.header("content-range"), Some(format!("bytes {from}-{}/{size}", size - 1).as_str()));
        assert!(part.body == zip[from..], "from {from}");
        assert_eq!(part.header("content-encoding"), None);
    }
    let part = get("bytes=3-9").has_status(206);
    assert!(part.body == zip[3..10]);
    assert_eq!(part.header("content-range"), Some(format!("bytes 3-9/{size}").as_str()));

    // Recent Android asks for what is behind the end after it has everything, and would ask for ever on an empty 206.
    let end = get(&format!("bytes={size}-")).has_status(416);
    assert_eq!(end.header("content-range"), Some(format!("bytes */{size}").as_str()));
    assert!(end.body.is_empty());

    // A part may be asked for while the address still has the same bytes.
    let etag = get("bytes=0-").header("etag").unwrap().to_owned();
    let conditional = |tag: &str| server.send("GET", &path, &[("range", "bytes=5-"), ("if-range", tag)], b"");
    assert!(conditional(&etag).has_status(206).body == zip[5..]);
    assert!(conditional("\"other\"").has_status(200).body == zip);
}

#[test]
fn a_download_is_whole_cacheable_and_never_transformed() {
    let world = World::shop();
    let (server, path, zip) = served(&world);
    let whole = server.send("GET", &path, &[("accept-encoding", "gzip, br")], b"").has_status(200);
    assert!(whole.body == zip);
    assert_eq!(whole.header("content-length"), Some(zip.len().to_string().as_str()));
    assert_eq!(whole.header("content-encoding"), None);
    let caching = whole.header("cache-control").unwrap();
    assert!(caching.contains("immutable") && caching.contains("no-transform"), "{caching}");
    let etag = whole.header("etag").unwrap();
    let head = server.send("HEAD", &path, &[], b"").has_status(200);
    assert_eq!(head.header("content-length"), whole.header("content-length"));
    assert!(head.body.is_empty());
    let same = server.send("GET", &path, &[("if-none-match", etag)], b"").has_status(304);
    assert!(same.body.is_empty());
}

#[test]
fn nothing_else_is_under_bundles() {
    let world = World::shop();
    let (server, path, zip) = served(&world);
    let unknown = sha256(b"nothing");
    for other in [
        format!("/bundles/{unknown}.zip"),
        path.to_uppercase().replace("/BUNDLES/", "/bundles/"),
        path.replace(".zip", ""),
        path.replace("/bundles/", "/bundles/../bundles/"),
        "/bundles/".to_owned(),
        "/bundles/..%2f..%2fadmin-token".to_owned(),
        "/admin-token".to_owned(),
    ] {
        assert_eq!(server.send("GET", &other, &[], b"").status, 404, "{other}");
    }
    assert_eq!(server.send("POST", &path, &[], b"").status, 405);
    assert!(server.send("GET", &path, &[], b"").body == zip);
}

#[test]
fn what_failed_on_a_phone_is_not_offered_to_it_again() {
    let world = World::shop();
    let (server, ..) = served(&world);
    let failing = phone(7);
    failing.downloads(&server, "1.1.0");
    server.post("/stats", &failing.event("set", "1.1.0")).has_status(200);
    server.post("/stats", &failing.event("update_fail", "1.1.0")).has_status(200);
    let answer = failing.asks(&server);
    assert_eq!(
        (&answer["error"], &answer["kind"]),
        (&"no_new_version_available".into(), &"up_to_date".into())
    );
    assert!(answer.get("url").is_none(), "{answer}");
    phone(8).downloads(&server, "1.1.0");

    // A new native version may run it, and a new version may be better.
    failing.clone().with("version_build", "1.0.1").with("version_name", "1.0.1").downloads(&server, "1.1.0");
    world.commit(
        Changes::new().file("channels/production.yaml", channel("production", "1.2.0", "  public: true\n")),
    );
    failing.awaits(&server, "1.2.0");
    failing.downloads(&server, "1.2.0");
    let known = server.explain(&failing.body());
    let outcomes = known["device"]["outcomes"].as_array().unwrap();
    let outcome = outcomes.iter().find(|o| o["version"] == "1.1.0").unwrap_or_else(|| panic!("{known}"));
    assert_eq!(outcome["launchFailed"]["action"], "update_fail", "{outcome}");
}
