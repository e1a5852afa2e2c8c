//! Ports that stay with one part, also while it is down.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

/// Below the range from which systems number outgoing connections, so that none of these takes the port of a server
/// that is down for a moment.
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A port of the loopback address. No other test process takes it while this lives.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    /// Locked; the system lets go of it when the process ends.
    _claim: File,
}

impl Port {
    /// Claims a port that nobody listens on.
    pub(crate) fn claim() -> Self {
        let folder = std::env::temp_dir().join("sluice-test-ports");
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        // Fails for another user's folder, who has opened it already.
        let _ = fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o1777));
        for _ in 0..1_000 {
            let number = rand::random_range(RANGE);
            let Ok(claim) = File::create(folder.join(number.to_string())) else { continue };
            if claim.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Self { number, _claim: claim };
            }
        }
        panic!("no port of {RANGE:?} is free");
    }

    /// Where a server on it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}
