//! What the figures are compared with: axum handlers that do the same transport without thinking.

use std::{net::SocketAddr, path::PathBuf};

use axum::{Json, Router, http::header, routing::post, serve::ListenerExt as _};
use serde::Deserialize;
use tower_http::services::ServeDir;

/// The fields of an update check, parsed as a plain handler would.
#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed, not read")]
struct Check {
    platform: String,
    device_id: String,
    app_id: String,
    custom_id: Option<String>,
    version_build: String,
    version_code: Option<String>,
    version_os: Option<String>,
    version_name: String,
    plugin_version: String,
    is_emulator: bool,
    is_prod: bool,
    #[serde(rename = "defaultChannel")]
    default_channel: Option<String>,
}

/// Serves until it is killed: `body` to every update check, and the files of `folder` under `/bundles`.
pub fn serve(listen: SocketAddr, body: String, folder: PathBuf) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async move {
        let body: &'static str = body.leak();
        let check =
            move |Json(_): Json<Check>| async move { ([(header::CONTENT_TYPE, "application/json")], body) };
        let app =
            Router::new().route("/updates", post(check)).nest_service("/bundles", ServeDir::new(folder));
        let listener = tokio::net::TcpListener::bind(listen).await.unwrap();
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
        axum::serve(listener, app).await.unwrap();
    });
}
