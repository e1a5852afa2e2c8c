//! Reports to an operator that also answers devices, with either fleet store.

use std::process::{Command, Stdio};

use serde_json::json;
use sluice_test_parts::{ControlPlane, Postgres};

use crate::{
    cost::child,
    parts::row,
    reports::{self, Reported},
    world::World,
    wrk::LOAD_CORE,
};

/// The core of the operator; the database shares the other one with the load.
const OPERATOR_CORE: &str = "0";

/// Prints it.
pub async fn print(control_plane: &'static ControlPlane, resources: usize) {
    let postgres = Postgres::durable().await;
    let id = child("postgres").to_string();
    let pinned =
        Command::new("taskset").args(["-a", "-p", "-c", LOAD_CORE, &id]).stdout(Stdio::null()).status();
    assert!(pinned.unwrap().success(), "taskset");
    let database = postgres.database().await;
    for (place, variables) in
        [("a file", Vec::new()), ("PostgreSQL", vec![("SLUICE_DATABASE_URL", database.as_str())])]
    {
        let world = World::new(control_plane, resources).await;
        let operator = world.with_gateway_on(OPERATOR_CORE, &variables).await;
        world.follow(json!({})).await;
        world.await_ready().await;
        let channel = world.content.channel(0);
        operator.offers(channel, &crate::content::version(0)).await;
        let (to, id) = (operator.devices(), operator.id());
        let reported = tokio::task::block_in_place(|| reports::report(to, id, &channel.app()));
        for Reported { way, rate, per_core, latency } in reported {
            let [p50, p99, p999] = latency;
            row(
                &format!("{way}, durable in {place}, operator on one core"),
                &world,
                &format!("{rate:.0} reports/s; p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms"),
                "",
                &format!("{per_core:.0} reports in a second of the operator's CPU time"),
            );
        }
        world.suspend().await;
        operator.stop().await;
    }
}
