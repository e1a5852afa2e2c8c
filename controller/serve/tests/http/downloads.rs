//! Downloads, from a directory and from a store without files.

use std::sync::Arc;

use rstest::rstest;
use sluice_store::objects::Remote;

use crate::{
    wire::{Answer, get, request, send},
    world::{Wanted, World},
};

const CACHE: &str = "public, max-age=31536000, immutable, no-transform";

async fn world(remote: bool) -> World {
    let objects = remote.then(|| Arc::new(Remote::in_memory()) as _);
    World::with(Wanted { objects, ..Wanted::default() }).await
}

fn assert_identity(answer: &Answer) {
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    let length: usize = answer.header("content-length").unwrap().parse().unwrap();
    assert_eq!(length, answer.body.len());
}

#[rstest]
#[tokio::test]
async fn the_whole_file(#[values(false, true)] remote: bool) {
    let world = world(remote).await;
    let at = world.serve().await.address;
    let answer = get(at, &world.bundle(), &[("accept-encoding", "gzip, br")]).await;
    assert_eq!(answer.status, 200);
    assert_identity(&answer);
    assert!(answer.body == world.zip);
    assert_eq!(answer.header("etag"), Some(format!("\"{}\"", world.sha256).as_str()));
    assert_eq!(answer.header("cache-control"), Some(CACHE));
    assert_eq!(answer.header("content-type"), Some("application/zip"));
    let head = send(at, request("HEAD", &world.bundle(), &[("range", "bytes=5-")], b"")).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("200000")));
    assert_eq!(head.header("etag"), answer.header("etag"));
}

#[rstest]
#[case::from_the_start("bytes=0-", Some((0, 199_999)))]
#[case::resumed("bytes=150000-", Some((150_000, 199_999)))]
#[case::last_byte("bytes=199999-", Some((199_999, 199_999)))]
#[case::inner("bytes=70000-140000", Some((70_000, 140_000)))]
#[case::beyond("bytes=199990-300000", Some((199_990, 199_999)))]
#[case::suffix("bytes=-10", Some((199_990, 199_999)))]
#[case::at_the_end("bytes=200000-", None)]
#[case::behind_the_end("bytes=200001-", None)]
#[case::no_suffix("bytes=-0", None)]
#[tokio::test]
async fn a_part(
    #[case] range: &str,
    #[case] part: Option<(usize, usize)>,
    #[values(false, true)] remote: bool,
) {
    let world = world(remote).await;
    let at = world.serve().await.address;
    let answer = get(at, &world.bundle(), &[("range", range)]).await;
    if let Some((first, last)) = part {
        assert_eq!(answer.status, 206);
        assert_identity(&answer);
        assert_eq!(answer.header("content-range"), Some(format!("bytes {first}-{last}/200000").as_str()));
        assert!(answer.body == world.zip[first..=last]);
    } else {
        assert_eq!(answer.status, 416);
        assert_eq!(answer.header("content-range"), Some("bytes */200000"));
        assert_eq!(answer.header("content-length"), Some("0"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn validators() {
    let world = world(false).await;
    let at = world.serve().await.address;
    let etag = format!("\"{}\"", world.sha256);
    let weak = format!("W/{etag}");
    let list = format!("\"x\", {etag}");
    for (headers, status) in [
        (vec![("if-none-match", etag.as_str())], 304),
        (vec![("if-none-match", &weak)], 304),
        (vec![("if-none-match", &list)], 304),
        (vec![("if-none-match", "*")], 304),
        (vec![("if-none-match", "\"x\"")], 200),
        (vec![("if-none-match", &etag), ("range", "bytes=0-")], 304),
        (vec![("if-range", &etag), ("range", "bytes=10-")], 206),
        (vec![("if-range", &weak), ("range", "bytes=10-")], 200),
        (vec![("if-range", "\"x\""), ("range", "bytes=10-")], 200),
        (vec![("if-range", "Tue, 24 Nov 2026 17:00:00 GMT"), ("range", "bytes=10-")], 200),
        (vec![("range", "bytes=0-9,20-29")], 200),
        (vec![("range", "nonsense")], 200),
    ] {
        let answer = get(at, &world.bundle(), &headers).await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(answer.header("etag"), Some(etag.as_str()), "{headers:?}");
        assert_eq!(answer.header("cache-control"), Some(CACHE), "{headers:?}");
    }
}

#[tokio::test]
async fn other_names_are_not_there() {
    let world = world(false).await;
    let at = world.serve().await.address;
    let sha256 = world.sha256.to_string();
    for name in [
        sha256.clone(),
        format!("{sha256}.ZIP"),
        format!("{}.zip", sha256.to_uppercase()),
        format!("{}.zip", &sha256[1..]),
        format!("0{sha256}.zip"),
        format!("{}.zip", "0".repeat(64)),
        format!("..%2F{sha256}.zip"),
        "..%2f..%2ffleet.sqlite".to_owned(),
        "%00.zip".to_owned(),
        "%ff.zip".to_owned(),
        format!("{sha256}.zip/"),
    ] {
        let answer = get(at, &format!("/bundles/{name}"), &[]).await;
        assert!(matches!(answer.status, 400 | 404), "{name}: {}", answer.status);
        assert!(answer.status == 400 || answer.header("cache-control") == Some("no-store"), "{name}");
    }
}

#[tokio::test]
async fn a_file_that_became_shorter_breaks_the_connection() {
    let world = world(false).await;
    let at = world.serve().await.address;
    let path = world.views.objects.local_path(&format!("artefacts/{}.zip", world.sha256)).unwrap();
    let mut stream = crate::wire::connect(at).await;
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(64_000_000).unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &request("GET", &world.bundle(), &[], b""))
        .await
        .unwrap();
    let (status, headers) = crate::wire::read_head(&mut stream).await;
    assert_eq!(status, 200);
    assert!(headers.contains(&("content-length".into(), "64000000".into())));
    file.set_len(1000).unwrap();
    let mut rest = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest);
    _ = tokio::time::timeout(crate::wire::LIMIT, read).await.expect("the connection ends");
    assert!(rest.len() < 64_000_000);
}
