//! Who is told what becomes of rollouts: the real program, and a listener that is away at first.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::mpsc,
    time::Duration,
};

use serde_json::Value;
use sluice_repo::testing::Changes;

use crate::support::{World, channel, phone};

/// Answers every request with 204 and hands over its body.
fn listen(listener: TcpListener) -> mpsc::Receiver<Value> {
    let (heard, bodies) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() == 0 || line.trim().is_empty() {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
            reader.into_inner().write_all(answer).unwrap();
            if heard.send(serde_json::from_slice(&body).unwrap()).is_err() {
                return;
            }
        }
    });
    bodies
}

#[test]
fn a_release_that_is_served_is_told() {
    let world = World::shop();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let server = world.serve_with(&["--notify-url", &url]);
    phone(1).awaits(&server, "1.1.0");
    let status = server.status();
    let mut conditions = status["repositories"][0]["conditions"].as_array().unwrap().iter();
    let notified = conditions.find(|condition| condition["type"] == "Notified").unwrap();
    assert_eq!(notified["status"], true, "{status}");
    let bodies = listen(listener);
    world.commit(
        Changes::new().file("channels/production.yaml", channel("production", "1.2.0", "  public: true\n")),
    );
    phone(1).awaits(&server, "1.2.0");
    let mut told = Vec::new();
    while told.last() != Some(&"1.2.0".to_owned()) {
        let event = bodies.recv_timeout(Duration::from_mins(1)).unwrap();
        assert_eq!(
            (&event["specversion"], &event["type"]),
            (&"1.0".into(), &"dev.sluice.rollout.completed".into())
        );
        told.push(event["data"]["release"].as_str().unwrap().to_owned());
    }
    assert!(told.len() <= 3, "{told:?}");
}

#[test]
fn what_cannot_be_told_shows_and_a_pause_without_listener_is_not_caught_up() {
    let world = World::shop();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    // Nobody listens yet.
    drop(listener);
    let server = world.serve_with(&["--notify-url", &url]);
    phone(1).awaits(&server, "1.1.0");
    let move_to = |release: &str| {
        let more = "  public: true\n";
        world.commit(Changes::new().file("channels/production.yaml", channel("production", release, more)));
    };
    move_to("1.2.0");
    phone(1).awaits(&server, "1.2.0");
    server.eventually("status says that it waits", |server| {
        let text = server.ask("status", &[]).exits(0).out;
        let said = text.contains("Notifications (DeliveryFailing, since ")
            && text.contains("to be told: the address");
        assert!(!text.contains("/hook"), "{text}");
        said.then_some(())
    });
    assert!(server.metric("sluice_notifications_failing") > 0.0);
    assert!(server.metric("sluice_notifications_waiting") > 0.0);
    assert!(server.stop().success());

    // A while in which nobody is to be told.
    let server = world.serve();
    move_to("1.1.0");
    phone(1).awaits(&server, "1.1.0");
    assert!(server.stop().success());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let bodies = listen(listener);
    let server = world.serve_with(&["--notify-url", &url]);
    let place = world.data().join("store/inventory/notified/default.json");
    server.eventually("it is remembered from where on is told", |_| place.exists().then_some(()));
    move_to("1.2.0");
    let first = bodies.recv_timeout(Duration::from_mins(1)).unwrap();
    assert_eq!(first["data"]["release"], "1.2.0", "{first}");
}
