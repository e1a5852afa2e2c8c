//! Who asks: the address of the peer, or the one that a trusted proxy reports, and what else such a proxy knows.
//!
//! Addresses are never logged beside what a device says.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::extract::{FromRef, FromRequestParts};
use http::{HeaderMap, HeaderValue, header, request::Parts};
use ipnet::IpNet;

/// The other end of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The networks whose forwarding headers are believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// These networks.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The rightmost address that is not a trusted proxy's. A header that was not written by a proxy but by the client
    /// cannot move it: where `Forwarded` and `X-Forwarded-For` disagree, the peer counts.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.contains(peer) {
            return peer;
        }
        let standard = texts(headers, header::FORWARDED.as_str());
        let common = texts(headers, "x-forwarded-for");
        let standard = (!standard.is_empty())
            .then(|| self.walk(peer, standard.iter().rev().flat_map(|t| elements(t).into_iter().rev())));
        let common = (!common.is_empty())
            .then(|| self.walk(peer, common.iter().rev().flat_map(|t| t.rsplit(',').map(node))));
        match (standard, common) {
            (Some(a), Some(b)) if a != b => peer,
            (a, b) => a.or(b).unwrap_or(peer),
        }
    }

    /// Goes from the peer to the left as long as hops are trusted and known.
    fn walk(&self, peer: IpAddr, hops: impl Iterator<Item = Option<IpAddr>>) -> IpAddr {
        let mut at = peer;
        for hop in hops {
            let Some(hop) = hop else { return at };
            at = hop;
            if !self.contains(hop) {
                return at;
            }
        }
        at
    }
}

/// Values that are not text end the walk like any other unknown hop.
fn texts<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("unknown")).collect()
}

/// The `for` of each element of a `Forwarded` header (RFC 7239). Quoted strings hold no commas in a valid one.
fn elements(text: &str) -> Vec<Option<IpAddr>> {
    text.split(',')
        .map(|element| {
            element.split(';').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                name.trim().eq_ignore_ascii_case("for").then(|| node(value.trim().trim_matches('"')))?
            })
        })
        .collect()
}

/// An address with or without a port.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|s| s.ip()))?;
    Some(address.to_canonical())
}

/// The header in which a trusted proxy passes the language of the device, such as `fr-CA`.
const LOCALE: &str = "sluice-locale";

/// The header in which a trusted proxy passes the country of the device, by its two letters.
const COUNTRY: &str = "sluice-country";

/// Characters of a language tag that makes sense.
const MOST_LOCALE: usize = 35;

/// What is known of the other end beside what it says itself.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The address of the client, as far as it can be known.
    pub address: IpAddr,
    locale: Option<HeaderValue>,
    country: Option<HeaderValue>,
}

impl Origin {
    /// An address, and nothing more.
    pub const fn of(address: IpAddr) -> Self {
        Self { address, locale: None, country: None }
    }

    /// The language.
    pub fn locale(&self) -> Option<&str> {
        self.locale.as_ref()?.to_str().ok()
    }

    /// The country.
    pub fn country(&self) -> Option<&str> {
        self.country.as_ref()?.to_str().ok()
    }
}

/// The only value of a header, when it is a short text. Of two values one was sent by the client.
fn only(headers: &HeaderMap, name: &str, most: usize) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().is_ok_and(|text| (1..=most).contains(&text.len())).then(|| value.clone())
}

impl<S> FromRequestParts<S> for Origin
where
    TrustedProxies: FromRef<S>,
    S: Sync,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip());
        let (trusted, headers) = (TrustedProxies::from_ref(state), &parts.headers);
        let address = trusted.client(peer, headers);
        if !trusted.contains(peer.to_canonical()) {
            return Ok(Self::of(address));
        }
        Ok(Self { address, locale: only(headers, LOCALE, MOST_LOCALE), country: only(headers, COUNTRY, 2) })
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::no_header("10.0.0.1", &[], "10.0.0.1")]
    #[case::untrusted_peer("192.0.2.9", &[("x-forwarded-for", "203.0.113.7")], "192.0.2.9")]
    #[case::one_hop("10.0.0.1", &[("x-forwarded-for", "203.0.113.7")], "203.0.113.7")]
    #[case::forged_left("10.0.0.1", &[("x-forwarded-for", "1.1.1.1, 203.0.113.7")], "203.0.113.7")]
    #[case::two_proxies("10.0.0.1", &[("x-forwarded-for", "1.1.1.1, 203.0.113.7, 10.9.9.9")], "203.0.113.7")]
    #[case::all_trusted("10.0.0.1", &[("x-forwarded-for", "10.1.1.1, 10.9.9.9")], "10.1.1.1")]
    #[case::unknown_hop("10.0.0.1", &[("x-forwarded-for", "203.0.113.7, unknown")], "10.0.0.1")]
    #[case::unknown_behind_trusted("10.0.0.1", &[("x-forwarded-for", "unknown, 10.9.9.9")], "10.9.9.9")]
    #[case::port("10.0.0.1", &[("x-forwarded-for", "203.0.113.7:4711")], "203.0.113.7")]
    #[case::several_headers("10.0.0.1", &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.7")], "203.0.113.7")]
    #[case::standard("10.0.0.1", &[("forwarded", "for=1.1.1.1, For=203.0.113.7;proto=https;by=10.0.0.1")], "203.0.113.7")]
    #[case::standard_v6("10.0.0.1", &[("forwarded", "for=\"[2001:db8::7]:4711\"")], "2001:db8::7")]
    #[case::standard_hidden("10.0.0.1", &[("forwarded", "for=_secret")], "10.0.0.1")]
    #[case::agree("10.0.0.1", &[("forwarded", "for=203.0.113.7"), ("x-forwarded-for", "203.0.113.7")], "203.0.113.7")]
    #[case::disagree("10.0.0.1", &[("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "203.0.113.7")], "10.0.0.1")]
    #[case::mapped_peer("::ffff:10.0.0.1", &[("x-forwarded-for", "203.0.113.7")], "203.0.113.7")]
    #[case::mapped_hop("10.0.0.1", &[("x-forwarded-for", "::ffff:203.0.113.7")], "203.0.113.7")]
    #[case::v6_proxy("fd00::1", &[("x-forwarded-for", "2001:db8::7")], "2001:db8::7")]
    #[case::empty("10.0.0.1", &[("x-forwarded-for", "")], "10.0.0.1")]
    fn the_client_behind_proxies(#[case] peer: &str, #[case] headers: &[(&str, &str)], #[case] client: &str) {
        let trusted = TrustedProxies::new(["10.0.0.0/8", "fd00::/8"].map(|n| n.parse().unwrap()));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        assert_eq!(trusted.client(peer.parse().unwrap(), &map), client.parse::<IpAddr>().unwrap());
    }

    #[tokio::test]
    async fn only_a_trusted_proxy_says_where_a_device_is() {
        #[derive(Clone)]
        struct State(TrustedProxies);
        impl FromRef<State> for TrustedProxies {
            fn from_ref(state: &State) -> Self {
                state.0.clone()
            }
        }
        let state = State(TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]));
        let origin = async |peer: &str, headers: &[(&str, &str)]| {
            let mut request = http::Request::builder();
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            parts.extensions.insert(Peer(SocketAddr::new(peer.parse().unwrap(), 1)));
            let origin = Origin::from_request_parts(&mut parts, &state).await.unwrap();
            (origin.locale().map(str::to_owned), origin.country().map(str::to_owned))
        };
        let passed = [("Sluice-Locale", "fr-CA"), ("Sluice-Country", "CA")];
        assert_eq!(origin("10.0.0.1", &passed).await, (Some("fr-CA".into()), Some("CA".into())));
        assert_eq!(origin("192.0.2.9", &passed).await, (None, None));
        let twice = [passed[1], ("Sluice-Country", "FR")];
        assert_eq!(origin("10.0.0.1", &twice).await, (None, None));
        let odd = [("Sluice-Country", "CAN"), ("Sluice-Locale", "")];
        assert_eq!(origin("10.0.0.1", &odd).await, (None, None));
    }

    #[test]
    fn bytes_that_are_not_text_are_an_unknown_hop() {
        let trusted = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
        let mut map = HeaderMap::new();
        map.append("x-forwarded-for", http::HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        let peer = "10.0.0.1".parse().unwrap();
        assert_eq!(trusted.client(peer, &map), peer);
    }
}
